package main

// unit is the tests of the core whose names match.
func unit(run string) []string { return []string{"./leaderelection", "-run", run} }

// simulated is a few schedules of the simulator.
var simulated = []string{"./leaderelection/simulation", "-run", "TestSimulation/everything", "-sim.schedules=30"}

// core breaks what the elector believes and when it stops.
var core = []mutant{
	{"trust counts from the reply", "leaderelection/tenure.go",
		"	e.writes.proven = w.renewed\n	e.writes.open",
		"	e.tenure.write.sent = stampNow()\n	e.writes.proven = w.renewed\n	e.writes.open", unit("TrustCounts")},
	{"trust lasts as long as the Lease", "leaderelection/config.go",
		"return min(c.RetryPeriod+c.RenewDeadline, c.LeaseDuration/10*9)", "return c.LeaseDuration", unit("TrustCounts|FuzzConfig_Each|ZeroDurations")},
	{"trust that has run out comes back", "leaderelection/tenure.go",
		"case e.trustIn(t).remaining(time.Now()) <= 0:\n		e.loseLocked", "case false:\n		e.loseLocked", unit("TrustThatHasRunOut")},
	{"no timer ends the term", "leaderelection/lead.go", "return e.checkTrust(t) }}", "return forever }}", unit("StopsWhenTrustRunsOut")},
	{"IsLeader does not look at the clock", "leaderelection/elector.go",
		"return t != nil && t.remaining(time.Now()) > 0", "return t != nil", unit("LooksAtTheClock")},
	{"IsLeader is true after the work was told to stop", "leaderelection/work.go",
		"	e.trust.Store(nil)\n	w.cancel(cause)", "	w.cancel(cause)", unit("CarriesTermLogger|AForeignHolderEnds")},
	{"time asleep does not count", "leaderelection/clock.go", "return mono + slept(s.asleep, most)", "_ = most\n	return mono", unit("Stamp_")},
	{"the work's context is not cancelled", "leaderelection/work.go", "	w.cancel(cause)\n", "", unit("StopsWhenTrustRunsOut")},
	{"what runs beside a campaign outlives it", "leaderelection/run.go", "	defer leave() // before e.end waits for them\n", "	_ = leave\n", unit("ACompanionIsTold")},
	{"the requests of a lost term go on", "leaderelection/tenure.go",
		"	t.cancel()\n	close(t.lost)", "	close(t.lost)", unit("RequestsOfALostTerm")},

	{"UIDs are not compared", "leaderelection/held.go",
		"if s.lease.UID != h.lease.UID {", "if false {", unit("Held_")},
	{"a foreign holder is overlooked", "leaderelection/held.go",
		"return verdict{cause: ErrOvertaken}", "return verdict{adopt: s.lease}", unit("Held_")},
	{"a deletion is overlooked", "leaderelection/held.go",
		"if s.version > h.version || s.version == 0 && s.asked > h.answered {", "if false {", unit("Held_")},
	{"a 404 older than our write is believed", "leaderelection/held.go",
		"s.version == 0 && s.asked > h.answered {", "s.version == 0 {", unit("Held_")},
	{"an older state is believed", "leaderelection/held.go", "		return s.version > h.version\n", "		return true\n", unit("Held_")},
	{"an own write that was applied is not known", "leaderelection/held.go",
		"if w, ok := open.find(h.identity, s.lease); ok {", "if w, ok := open.find(h.identity, s.lease); ok && false {", unit("Held_")},
	{"rewound history is not noticed", "leaderelection/sight.go", "		s.rewound = true\n", "", unit("Rewound|Restore")},
	{"a record under our name counts as ours", "leaderelection/sight.go",
		"return e.writes.proven != 0 && renewedAt(lease) == e.writes.proven", "return true", unit("EarlierLife|Twin|TwoProcesses")},
	{"twins go on for ever", "leaderelection/sight.go", "const twinLimit = 3", "const twinLimit = 1 << 30", unit("TwoProcesses")},
	{"a late write of one's own is a twin's", "leaderelection/sight.go",
		"if !slices.Contains(e.writes.given, renewedAt(lease)) {", "if slices.Contains(e.writes.given, 0) || true {", unit("OwnLateWrites")},
	{"events of other Leases count", "leaderelection/watch.go",
		"if lease == nil || lease.Name != e.config.LeaseName || lease.Namespace != e.config.LeaseNamespace {", "if lease == nil {", unit("EventsOfOther")},

	{"a deleted Lease is a shortcut", "leaderelection/view.go",
		"!ours && until.After(next.protected)", "!ours && until.IsZero()", unit("View_|ADeletedLease")},
	{"a Lease that client-go freed is claimed at once", "leaderelection/view.go",
		"at = v.since.Add(rule.unmarkedPause)", "at = v.since", unit("View_")},
	{"an old mark counts as a release of ours", "leaderelection/internal/mark/terms.go",
		"mark == strconv.FormatInt(lease.Spec.RenewTime.UnixMicro(), 10)", `mark != "" && strconv.IntSize > 0`, unit("View_")},
	{"edits of metadata count as renewals", "leaderelection/view.go",
		"return a.UID == b.UID &&", "return a.ResourceVersion == b.ResourceVersion &&", unit("View_")},
	{"the holder's duration is ignored", "leaderelection/record.go", "s != nil && *s > 0 {", "s != nil && *s < 0 {", unit("View_")},
	{"a duration that makes no sense is believed", "leaderelection/record.go", "s != nil && *s > 0 {", "s != nil {", unit("View_|FuzzHeld")},
	{"the token counts terms", "leaderelection/tenure.go",
		"if version := versionOf(lease); version != 0 {", "if version := versionOf(lease); version == 0 {", unit("CarriesTermLogger|LeadsAgainInANewTerm|Token")},
}
