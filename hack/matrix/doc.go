// Command matrix runs the tests with several versions of the Kubernetes modules and of
// controller-runtime, against several versions of kube-apiserver.
//
// For each pair of module versions it writes a temporary go.mod, which the go command
// reads instead of the repository's (flag -modfile). For each API server it runs the unit
// and integration tests. Against the oldest API server it runs only the tests of Fences.
// The go command runs a unit test once for each pair, because it caches the result.
//
// The results are written to hack/docs/compatibility.md. Rows of combinations that were
// not run are kept. Without flags the command runs all combinations:
//
//	go run ./hack/matrix -pair 0.35 -server 1.37
//
// The pair "next" consists of the newest published versions, including alpha versions.
// It runs only if -pair selects it, and its result is not written to the table.
//
// Run the command in the top folder of the repository, or use make test-matrix. It needs
// some minutes for each pair, and builds each API server once.
package main
