package main

// unit returns the tests of package leaderelection whose names match the regular
// expression in the parameter run.
func unit(run string) tests { return tests{pkg: "./leaderelection", run: run} }

// pure returns the tests of the package leaderelection/internal/<pkg> whose names match
// the regular expression in the parameter run.
func pure(pkg, run string) tests {
	return tests{pkg: "./leaderelection/internal/" + pkg, run: run}
}

// simulated is a test that runs a few random schedules of the simulator.
var simulated = tests{"./leaderelection/simulation", "TestSimulation/everything", []string{"-sim.schedules=30"}}

// elector lists the mutations of package leaderelection and of its internal packages.
var elector = []mutation{
	// Trust.
	{"trust counts from the reply", "leaderelection: Elector.holdLocked",
		after("$e.held.Held = $_", "$e.held.Write.Sent = clock.Now()"), unit("TrustCounts")},
	{"trust lasts as long as the Lease", "leaderelection: Config.Window",
		replace("min($c.RetryPeriod + $_, $_)", "$c.LeaseDuration"), unit("TrustCounts|FuzzConfig_Each|ZeroDurations")},
	{"expired trust comes back", "leaderelection: Elector.confirmHeldLocked",
		forceFalse("$e.loseLocked(ErrRenewalFailed)"), unit("TrustThatHasEnded")},
	{"no timer ends the term", "leaderelection: trustTimer.check",
		remove("$e.loseLocked(ErrRenewalFailed)"), unit("StopsWhenTrustEnds")},
	{"IsLeader ignores the clock", "leaderelection: Elector.IsLeader",
		replace("$t.Remaining($_) > 0", "true"), unit("LooksAtTheClock")},
	{"IsLeader is true after the work was asked to stop", "leaderelection: Elector.stopWorkLocked",
		remove("$e.trust.Store(nil)"), unit("CarriesTermLogger|AForeignHolderEnds")},
	{"time asleep does not count", "leaderelection/internal/clock: Stamp.Age",
		replace("$mono + slept($x, $y)", "$mono + 0*slept($x, $y)"), pure("clock", "Stamp_")},
	{"the context of the work is not cancelled", "leaderelection: Elector.stopWorkLocked",
		remove("$run.cancel($_)"), unit("StopsWhenTrustEnds")},
	{"a background task outlives Run", "leaderelection: Elector.Run",
		replace("defer stopBackground()", "_ = stopBackground"), unit("CancelsABackgroundTask")},
	{"the requests of a lost term continue", "leaderelection: heldLease.lose",
		remove("$h.cancel()"), unit("RequestsOfALostTerm")},

	// Observations of a leader.
	{"UIDs are not compared", "leaderelection/internal/lease: Held.Evaluate",
		replace("$_.UID != $_.UID", "false"), pure("lease", "Held_")},
	{"a foreign holder is ignored", "leaderelection/internal/lease: Held.Evaluate",
		replace("$v{Loss: Overtaken}", "$v{Adopt: o.Lease}"), pure("lease", "Held_")},
	{"a deletion is ignored", "leaderelection/internal/lease: Held.Evaluate",
		replace("$o.Version > $h.Version || $_", "false"), pure("lease", "Held_")},
	{"a 404 that is older than our write counts", "leaderelection/internal/lease: Held.Evaluate",
		replace("$o.Version == 0 && $o.ReadSeq > $h.ConfirmedSeq", "$o.Version == 0"), pure("lease", "Held_")},
	{"an older observation counts", "leaderelection/internal/lease: Held.olderThan",
		replace("$o.Version > $h.Version", "true"), pure("lease", "Held_")},
	{"our own applied write is not recognized", "leaderelection/internal/lease: Held.Evaluate",
		forceFalse("return $_{Confirmed: &$_, Adopt: $_}"), pure("lease", "Held_")},
	{"rewound history is not noticed", "leaderelection: Elector.observeLocked",
		remove("$o.Rewound = true"), unit("Rewound|Restore")},
	{"every record with our identity counts as ours", "leaderelection: Elector.wroteLocked",
		replace("$e.writes.confirmed != 0 && $_", "true"), unit("EarlierProcess|Duplicate|TwoProcesses")},
	{"a duplicate identity is never reported", "leaderelection: duplicateLimit",
		replace("3", "1 << 30"), unit("TwoProcesses")},
	{"a late write of our own counts as a duplicate identity", "leaderelection: Elector.countDuplicatesLocked",
		replace("slices.Contains($_, $_)", "false"), unit("OwnLateWrites")},
	{"a late event confirms a claim that a read did not find", "leaderelection: Elector.isDoubtedLocked",
		replace("$w.Seq < $_", "false"), unit("ALateEventAfterADeletion")},
	{"events of other Leases count", "leaderelection: Elector.observeEvent",
		replace("$lease.Name != $_ || $lease.Namespace != $_", "false"), unit("EventsOfOther")},

	// Observations of a follower.
	{"a deletion makes the Lease claimable at once", "leaderelection/internal/lease: State.After",
		forceFalse("$next.ProtectedUntil = $_"), pure("lease", "State_")},
	{"a Lease that client-go released is claimed at once", "leaderelection/internal/lease: State.ClaimableAt",
		replace("$s.Since.Add($_.ForeignReleaseDelay)", "$s.Since"), pure("lease", "State_")},
	{"an old annotation counts as a release by an Elector", "leaderelection/internal/lease: IsReleased",
		replace("$value == releasedValue($_)", `$value != ""`), pure("lease", "State_")},
	{"edits of metadata count as renewals", "leaderelection/internal/lease: SameRecord",
		replace("$a.UID == $b.UID", "$a.ResourceVersion == $b.ResourceVersion"), pure("lease", "State_")},
	{"the duration of the holder is ignored", "leaderelection/internal/lease: Duration",
		replace("*$s > 0", "*$s < 0"), pure("lease", "State_")},
	{"an invalid duration counts", "leaderelection/internal/lease: Duration",
		replace("$s != nil && *$s > 0", "$s != nil"), pure("lease", "State_|FuzzHeld")},
	{"the fencing token counts terms", "leaderelection: tokenOf",
		replace("$version != 0", "$version == 0"), unit("CarriesTermLogger|LeadsAgainInANewTerm")},

	// The end of a term.
	{"the Lease is released before the work has returned", "leaderelection: Elector.lead",
		before("case <-$workReturned: $*_; $_.callStopped($_)", "case <-run.context.Done():\ne.callStopped(run)\nclose(run.returned)\nwaiting = false"), unit("ReleasesOnlyAfter")},
	{"the Lease is released before OnStoppedLeading has returned", "leaderelection: Elector.lead",
		replace("$workReturned = nil", "$workReturned, waiting = nil, false").at(1), unit("ReleasesOnlyAfter|CallbacksArePaired|OnStoppedLeadingBlocks")},
	{"OnStoppedLeading is called before the work has returned", "leaderelection: Elector.lead",
		before("for waiting := true; waiting; { $*_ }", "e.callStopped(run)"), unit("CallbacksArePaired")},
	{"the wait for lost work has no limit", "leaderelection: Elector.lead",
		replace("$lost, $othersMayClaim = nil, $timer.C", "$lost = nil"), unit("WorkThatDoesNotStop")},
	{"StopTimeout is ignored", "leaderelection: Elector.lead",
		remove("$stopTimeout = $timer.C"), unit("StopTimeout")},
	{"the Lease is released without ReleaseOnCancel", "leaderelection: Elector.lead",
		replace("$e.config.ReleaseOnCancel || $steppedDown", "true"), unit("WithoutReleaseOnCancel")},
	{"StepDown does not release the Lease", "leaderelection: Elector.lead",
		replace("$e.config.ReleaseOnCancel || $steppedDown", "$e.config.ReleaseOnCancel"), unit("StepDown")},
	{"an Elector claims at once after StepDown", "leaderelection: Elector.startCooldown",
		replace("time.Now().Add($e.config.LeaseDuration)", "time.Now()"), unit("StepDown")},
	{"StepDown takes its own stop for an earlier one", "leaderelection: Elector.StepDown",
		before("if $mayBe { return nil }", "$mayBe = ctx.Value(termKey{}) == run || isClosed(run.stopCalled)"), unit("StepDownWaits")},
	{"Run begins while old work still runs", "leaderelection: Elector.begin",
		replace("$e.run != nil && !$e.run.hasReturned()", "false"), unit("StopTimeout|WorkThatDoesNotStop")},
	{"a claim that is won after the end is kept", "leaderelection: Elector.campaign",
		remove("$e.releaseLateClaims()"), unit("AClaimThatSucceedsAfter|StopsSoon|BusyLoop")},
	{"late claims are looked for in a busy loop", "leaderelection: Elector.releaseLateClaims",
		remove("_ = clock.Sleep($e.runCtx, nil, $_)"), tests{"./leaderelection", "BusyLoop", []string{"-timeout", "20s"}}},
	{"a refused release is not sent again", "leaderelection: attempt.release",
		replace("if err := wait($*_); err != nil { return err }", "return err"), unit("ARefusedRelease")},
	{"a release continues after trust has expired", "leaderelection: Config.releaseStepTime",
		replace("min($timeout, $_)", "$timeout + 0*time.Until(trustedUntil)"), unit("AbandonedWhenTrust")},
	{"HeldFor continues after a release was sent", "leaderelection: Elector.HeldFor",
		replace("$h.phase == phaseReleasing", "false"), unit("HeldFor")},

	// Writes.
	{"a refusal looks like a conflict", "leaderelection: errNotHeld",
		replace("errors.New($_)", `error(apierrors.NewConflict(coordinationv1.Resource("leases"), "", errors.New("not held")))`), unit("NoErrorIsAConflict")},
	{"a write overwrites what it finds", "leaderelection: Elector.send",
		before("$_, $_ = $e.store.update($ctx, $lease)", `if now, err := $e.store.get($ctx); err == nil && now != nil {
			$lease.ResourceVersion, $lease.UID = now.ResourceVersion, now.UID
		}`), simulated},
	{"the next renewal waits for one that hangs", "leaderelection: attempt.renew",
		replace("time.Until($a.answerBy)", "e.config.LeaseDuration"), unit("StopsWhenTrust|SurvivesLost|HangForHours")},
	{"the last renewal before the end of trust is not sent", "leaderelection: Config.overlapTimeout",
		replace("min($unconfirmed / 16, $_)", "$unconfirmed / 16 + 0*untilLast"), unit("NeverReturn")},
	{"renewTimes repeat", "leaderelection: Elector.issueLocked",
		replace("max($_ + 1, $sent.Time().UnixMicro())", "$sent.Time().Truncate(time.Minute).UnixMicro()"), unit("Overlapping|AppliedAfter|SurvivesLost")},
	{"a claim is sent again when its reply is lost", "leaderelection: attempt.claim",
		replace("$w.Sent.Age($_) < $_", "false"), unit("AClaimWhoseReply")},
	{"annotations are written where there is no room", "leaderelection/internal/lease: HasRoom",
		replace("$others <= maxOtherAnnotations", "true || others > 0"), unit("AnnotationsAreFull")},

	// The successor.
	{"other candidates do not wait for the successor", "leaderelection: Elector.claimableAtLocked",
		remove("$at = $at.Add($e.observed.claimDelay)"), unit("Successor")},
	{"the successor of an earlier term counts", "leaderelection/internal/lease: NominationOf",
		replace("$fields[0] != $_", "false"), pure("lease", "NominationOf")},
	{"candidates of the same age replace each other as successor", "leaderelection: Config.minAgeGap",
		replace("($campaigning + $c.RetryPeriod) / 16", "0"), unit("MinAgeGap")},
	{"a higher rank replaces a new successor at once", "leaderelection: Elector.nominateLocked",
		replace("!$e.config.recentlyJoined($_)", "false"), unit("OnlyARecentlyJoined")},
	{"a recently joined candidate waits like the others", "leaderelection: Elector.nominateLocked",
		replace("!$e.config.recentlyJoined($_)", "true"), unit("OnlyARecentlyJoined")},
	{"a refused nomination is sent again at once", "leaderelection: Elector.sendNomination",
		remove("$n.refused = $_"), unit("DespiteConflicts")},
	{"a refused nomination is not followed by a read when the Lease is polled", "leaderelection: Elector.sendNomination",
		remove("$e.requestRead()"), unit("DespiteConflicts")},

	// Reads and the watch.
	{"a stalled watch stays open", "leaderelection: Elector.follow",
		remove("$w.Restart($_)"), unit("StalledWatch")},
	{"a failed read is not repeated", "leaderelection: Elector.silence",
		replace("$e.requests.readsFail()", "false"), unit("LastErrorIsCleared")},
	{"a leader does not repeat a failed read", "leaderelection: Elector.needsNoRead",
		replace("$e.requests.readsFail()", "false"), unit("LastErrorIsCleared")},
	{"one read may hang for minutes", "leaderelection: Config.shortestRead",
		replace("min($longest, $_)", "$longest"), unit("OneHungRead")},
	{"a watch that ends at once is opened again at once", "leaderelection/internal/leasewatch: Watch.Run",
		replace("time.Since($began) >= $_", "time.Since($began) >= 0"), unit("EndsAtOnce")},
	{"a read from before the question is an answer", "leaderelection: Elector.readSince",
		replace("$f.began > $seq", "$f.began > 0"), unit("Confirm")},
	{"each refused write causes a read of its own", "leaderelection: Elector.readSince",
		replace("$f.began > $seq", "false"), unit("Confirm")},
	{"the election uses HTTP/2", "leaderelection: Config.ClientConfig",
		forceFalse(`$own.NextProtos = []string{"http/1.1"}`), unit("ClientConfig")},
	{"the election shares the connections of the application", "leaderelection: Config.ClientConfig",
		forceFalse("$own.Dial = $_"), unit("ClientConfig")},

	// Callbacks.
	{"OnNewLeader repeats", "leaderelection/internal/dispatch: Notifier.report",
		replace("$identity == $n.reported", "false"), pure("dispatch", "Notifier")},
	{"OnNewLeader is called without a leader", "leaderelection/internal/dispatch: Notifier.startLocked",
		replace(`$n.next == ""`, "false"), unit("OnNewLeader")},
}
