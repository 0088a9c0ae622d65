// Command upstream runs the test suites of controller-runtime with Incumbent's
// manager.New in place of New. It prints each spec that fails, with the reason.
//
// The command runs the suites of the packages manager, controller and builder in the
// version that go.mod pins. It runs each suite twice: as it is, and with LeaderElection
// forced on in each Manager. The file differences.go lists the specs that are expected
// to fail. The command fails if another spec fails, or if an expected failure does not
// occur.
//
// The command copies controller-runtime from the module cache to a temporary folder and
// rewrites the tests there:
//
//   - Specs create their Managers with Incumbent.
//   - Specs that look into controller-runtime's private Manager look into the inner
//     Manager, which Incumbent wraps.
//   - Specs that set the private grace period set that of Incumbent.
//   - Specs with a fake lock get a real Lease, whose namespace is created.
//
// Run the command with make upstream, which also provides a control plane. It takes about
// three minutes.
package main
