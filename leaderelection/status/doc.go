// Package status shows the state of Electors as a small HTML page and as JSON.
//
//	page := status.New()
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, page.Option())
//	http.Handle("/leaderelection", page)
//
// One [Page] serves any number of Electors. For each Elector, the page shows the current
// state, the most recent changes, and the timing that follows from the configured
// durations. The state shows whether this process leads, in which term, and how long its
// leadership remains certain. The state also shows the leader, the successor, whether the
// Lease is watched, and failing requests. The page reloads every two seconds and contains
// no scripts.
//
// The page shows an Elector from New until Run returns nil. If Run returns an error, the
// page shows the error until an Elector for the same Lease runs. If several Leases have
// the same name, the headings contain the API server. If that is also the same, the
// headings contain the identity.
//
// A client gets a [Report] if it accepts application/json or adds ?format=json to the
// URL. The page contains the names of replicas, Leases and API servers. Therefore serve
// the page on an internal port, such as the port of the metrics. The page is read-only:
// methods other than GET and HEAD are refused.
package status
