// Package status shows Electors to people, and to scripts: as a small page, and as
// JSON.
//
//	page := status.New()
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, page.Option())
//	http.Handle("/leaderelection", page)
//
// One [Page] serves any number of Electors. It shows what each knows now (does this
// process lead, in which term and for how much longer for certain; who leads, who is
// the heir; whether the Lease is watched; what fails), the last changes, and what
// follows from the durations. It renews itself every two seconds, without scripts.
//
// JSON is what a client gets that asks for application/json, or for
// ?format=json: a [Report]. The page names replicas and Leases: serve it where
// metrics are served, not to the world. It only reads: other methods than GET and
// HEAD are refused.
package status
