// Package adopt changes an operator that kubebuilder has scaffolded, so that package
// manager elects its leader. The changes are:
//
//   - The program calls manager.New instead of ctrl.NewManager. Its probes use
//     manager.Live and manager.Ready if they used healthz.Ping.
//   - The Role in config/rbac grants all rights that the election needs.
//   - The Deployment in config/manager sets POD_NAME, POD_NAMESPACE and POD_UID, and has
//     both probes.
//
// [Make] computes all changes and writes nothing. [Plan.Write] writes all changed files
// or none.
//
//	root, err := os.OpenRoot("my-operator")
//	plan, err := adopt.Make(root, "")
//	fmt.Print(plan.Diff())
//	err = plan.Write(root)
//
// A change inserts or replaces as little text as possible. Comments, the order of keys
// and the indentation remain. The package reads no file outside of root, also if a
// symbolic link leads there.
package adopt
