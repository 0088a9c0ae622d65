package leaderelection

import (
	"encoding/json"
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// make fuzz runs these for a while, and those beside what they are about: trust in
// FuzzHeld, configurations in FuzzConfig. A test run runs their seeds.

// Whatever stands in a Lease, nothing panics; it is claimed no sooner than it was
// seen, one that somebody holds not before his time has run out, and what we write
// over it keeps its identity and is understood again.
func FuzzLease_WhateverOthersWrote(f *testing.F) {
	for _, seed := range []string{
		`{"metadata":{"name":"app","uid":"a","resourceVersion":"51"},"spec":{"holderIdentity":"you","leaseDurationSeconds":15,"renewTime":"2026-01-01T00:00:00.000000Z"}}`,
		`{"metadata":{"uid":"b","resourceVersion":"99999999999999999999"},"spec":{"holderIdentity":"you","leaseDurationSeconds":-2147483648,"leaseTransitions":2147483647}}`,
		`{"metadata":{"resourceVersion":"-1"},"spec":{}}`,
		`{"metadata":{"uid":"a","resourceVersion":"0x10","annotations":null,"labels":null},"spec":{"holderIdentity":"","acquireTime":null,"renewTime":null}}`,
		`{"metadata":{"uid":"a","resourceVersion":"52","annotations":{"` + releasedAnnotation + `":"0","` + heirAnnotation + `":"0 0 0 you"}},"spec":{"renewTime":"0001-01-01T00:00:00.000000Z","acquireTime":"1970-01-01T00:00:00.000000Z"}}`,
		`{"metadata":{"uid":"a","resourceVersion":"53"},"spec":{"holderIdentity":"me","leaseDurationSeconds":2147483647,"strategy":"Unknown","preferredHolder":"you"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lease := &coordinationv1.Lease{}
		if json.Unmarshal(text, lease) != nil {
			return
		}
		rule := claimRule{unmarkedPause: 2 * time.Second, own: func(*coordinationv1.Lease) bool { return false }}
		v := story(event(record("a", 50, "you", 10), 1), event(lease, 2))
		when, known := v.claimableAt(rule)
		if !known || when.Before(v.since) {
			t.Errorf("claimable at %v, seen at %v", when, v.since)
		}
		if v.holder() != "" && !when.After(v.since) {
			t.Errorf("%q holds it, and it may be claimed at once", v.holder())
		}
		v.heir()
		v.mayInherit(heir{identity: "me"}, time.Second)
		held{identity: "me", lease: record("a", 50, "me", 10), version: 50}.judge(event(lease, 2), nil)

		renewed := at(30)
		ours := draft{holder: "me", seconds: 15, acquired: renewed, renewed: renewed, transitions: nextTransitions(lease)}.apply(lease)
		if ours.UID != lease.UID || ours.ResourceVersion != lease.ResourceVersion {
			t.Errorf("the write is tied to %q@%q, not to %q@%q", ours.UID, ours.ResourceVersion, lease.UID, lease.ResourceVersion)
		}
		if h, ok := heirOf(ours); !ok || h.identity != "" || releasedByUs(ours) {
			t.Errorf("after our claim: heir %+v (%t), released %t; want nobody, and not released", h, ok, releasedByUs(ours))
		}
		freed := draft{seconds: 1, acquired: renewed, renewed: renewed.Add(time.Second)}.apply(ours)
		if !releasedByUs(freed) {
			t.Error("our own release is not known")
		}
		if *ours.Spec.LeaseTransitions < 0 {
			t.Errorf("transitions = %d: the server refuses that", *ours.Spec.LeaseTransitions)
		}
	})
}

// Whatever stands in the heir's annotation, it names nobody or somebody who can be
// written again; and of two heirs one at most outranks the other.
func FuzzHeir_WhateverOthersWrote(f *testing.F) {
	acquired := at(10).UnixMicro()
	f.Add(heir{"you", 1, 2}.inscription(acquired))
	f.Add(heir{"", 0, 0}.inscription(acquired))
	f.Add(heir{"you and me", -1 << 31, -1 << 63}.inscription(acquired))
	f.Add(heir{"you", 1, 2}.inscription(acquired + 1))
	f.Add("")
	f.Add("1767225610000000 99999999999 1 you")
	f.Add("1767225610000000 +1 1 you")
	f.Fuzz(func(t *testing.T, text string) {
		lease := record("a", 50, "leader", 10)
		lease.Spec.AcquireTime = &metav1.MicroTime{Time: at(10)}
		lease.Annotations = map[string]string{heirAnnotation: text}
		h, ok := heirOf(lease)
		if !ok {
			return
		}
		lease.Annotations[heirAnnotation] = h.inscription(acquired)
		if again, ok := heirOf(lease); !ok || again != h {
			t.Errorf("%q reads %+v, and written again %+v", text, h, again)
		}
		me := heir{identity: "me", priority: 1, started: 2}
		if h.identity != "" && h.outranks(me, 0) && me.outranks(h, 0) {
			t.Errorf("%+v and %+v: each outranks the other", h, me)
		}
		story(event(lease, 1)).mayInherit(me, time.Second)
	})
}

// Names that are accepted can be names of Leases, and each refusal says which field
// it is about.
func FuzzConfig_Names(f *testing.F) {
	f.Add("pod-1", "my-app", "default")
	f.Add("", "", "")
	f.Add(" pod", "My_App", "a.b")
	f.Add("pod\n", strings.Repeat("a", 254), strings.Repeat("b", 64))
	f.Fuzz(func(t *testing.T, identity, name, namespace string) {
		c := valid().withDefaults()
		c.Identity, c.LeaseName, c.LeaseNamespace = identity, name, namespace
		problems := c.problems()
		for _, problem := range problems {
			if !strings.HasPrefix(problem.Error(), "Identity") && !strings.HasPrefix(problem.Error(), "LeaseName") {
				t.Errorf("%v: which field is that?", problem)
			}
		}
		if len(problems) == 0 && (identity == "" || name == "" || namespace == "" || strings.Contains(namespace, ".") || strings.Contains(name, "/")) {
			t.Errorf("%q, %q, %q are accepted", identity, name, namespace)
		}
	})
}

// Whatever is given as flags is refused with an error, or fills a Config.
func FuzzConfig_Flags(f *testing.F) {
	f.Add("--leader-elect --leader-elect-lease-duration=15s")
	f.Add("--leader-elect-tolerate-outage=60s --leader-elect-retry-period 1s")
	f.Add("--leader-elect-tolerate-outage=-1ns")
	f.Add("--leader-elect-tolerate-outage=2562047h47m16.854775807s")
	f.Add("--leader-elect-resource-lock=endpoints")
	f.Fuzz(func(t *testing.T, line string) {
		c := valid()
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		c.AddFlags(flags)
		if flags.Parse(strings.Fields(line)) == nil {
			_, _, _ = c.problems(), c.Timing().String(), c.withDefaults().warnings()
		}
	})
}

// What is said of outages and crashes is kept by the durations that it gives.
func FuzzTiming_WhatIsAskedForFollows(f *testing.F) {
	for _, d := range []time.Duration{0, -1, 1, time.Second, 15 * time.Second, time.Minute, time.Hour, 1<<63 - 1} {
		f.Add(int64(d))
	}
	f.Fuzz(func(t *testing.T, asked int64) {
		c := valid()
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = TolerateOutage(time.Duration(asked))
		if problems := c.problems(); len(problems) > 0 {
			t.Errorf("TolerateOutage(%v): %v", time.Duration(asked), problems)
		}
		if got := c.Timing().Outage; got < min(time.Duration(asked), maxLeaseDuration/2) {
			t.Errorf("TolerateOutage(%v) gives an outage of %v", time.Duration(asked), got)
		}
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = FailOverWithin(time.Duration(asked))
		if problems := c.problems(); len(problems) > 0 {
			t.Errorf("FailOverWithin(%v): %v", time.Duration(asked), problems)
		}
		if got := c.Timing().Crash; got > max(time.Duration(asked), 2500*time.Millisecond) {
			t.Errorf("FailOverWithin(%v) takes %v", time.Duration(asked), got)
		}
	})
}
