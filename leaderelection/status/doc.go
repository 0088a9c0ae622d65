// Package status shows the state of Electors as a small HTML page and as JSON.
//
//	page := status.New()
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, page.Option())
//	http.Handle("/leaderelection", page)
//
// One [Page] serves any number of Electors. For each Elector it shows its present state,
// its last changes and the timing that follows from its durations. The state contains
// whether this process leads, in which term, and how long that remains certain; the
// leader and the successor; whether the Lease is watched; and failing requests. The page
// reloads itself every two seconds and contains no scripts.
//
// A client that accepts application/json, or asks for ?format=json, gets a [Report]. The
// page contains the names of replicas and Leases. Serve it where metrics are served, not
// to the public. The page is read-only: methods other than GET and HEAD are refused.
package status
