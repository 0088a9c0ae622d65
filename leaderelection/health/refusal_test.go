package health_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/health"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// checks returns a Health without a review of the rights, and a Health with a review.
// deny makes the review deny the given verb. An empty verb denies none.
func checks() (all map[string]*health.Health, deny func(verb string)) {
	r := newReviewer()
	return map[string]*health.Health{"without review": health.New(), "with review": health.New(health.WithReview(r))},
		func(verb string) { r.denied.Store(&verb) }
}

// A nomination is a write of a follower. An admission policy can refuse it, although the
// same policy allows a claim.
func TestReady_IgnoresARefusedNomination(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusUnprocessableEntity, http.StatusNotFound, http.StatusInternalServerError} {
		all, _ := checks()
		for name, h := range all {
			inTestCluster(t, func(c *testCluster) {
				stop := c.run(nil, "z", c.server.Client("z").Clientset(), leaderelection.Callbacks{})
				time.Sleep(time.Second)
				client := c.server.Client("a")
				claims := leaderelectiontest.Claims("a")
				nominations := client.Network().Fail(status, 0, leaderelectiontest.Verbs("update"),
					leaderelectiontest.When(func(r leaderelectiontest.Request) bool { return !claims(r) }))
				client.Network().Fail(http.StatusInternalServerError, 0, leaderelectiontest.When(claims))
				c.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
				time.Sleep(time.Minute)
				if nominations.Hits() < 3 {
					t.Errorf("%d nominations were refused, want at least 3", nominations.Hits())
				}
				c.want(name+": the nomination is refused", h.Ready, "")
				_ = stop()
				time.Sleep(10 * time.Second)
				c.want(name+": nobody leads", h.Ready, "")
			})
		}
	}
}

func TestReady_FailsIfANominationShowsThatARightIsMissing(t *testing.T) {
	all, deny := checks()
	for name, h := range all {
		inTestCluster(t, func(c *testCluster) {
			deny("")
			c.run(nil, "z", c.server.Client("z").Clientset(), leaderelection.Callbacks{})
			time.Sleep(time.Second)
			client := c.server.Client("a")
			client.Deny("update")
			c.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
			deny("update")
			time.Sleep(time.Minute)
			if name == "with review" {
				c.want(name+": before a review", h.Ready, "missing right: update leases.coordination.k8s.io")
			} else {
				c.want(name+": after the nomination", h.Ready, " cannot update ")
			}
			client.Allow()
			deny("")
			time.Sleep(time.Minute)
			c.want(name+": the right is granted", h.Ready, "")
		})
	}
}

// A follower can claim again if only its last claim was refused, for example because
// another candidate deleted the Lease or created it at the same time.
func TestReady_IgnoresARefusedClaimWhileAnotherCandidateLeads(t *testing.T) {
	for status, text := range map[int]string{http.StatusForbidden: "Forbidden", http.StatusNotFound: "could not find"} {
		inTestCluster(t, func(c *testCluster) {
			h, client := health.New(), c.server.Client("a")
			client.Network().Fail(status, 0, leaderelectiontest.Verbs("create", "update"))
			c.run(h, "a", client.Clientset(), leaderelection.Callbacks{})
			time.Sleep(5 * time.Second)
			c.want("nobody leads", h.Ready, text)
			c.run(nil, "z", c.server.Client("z").Clientset(), leaderelection.Callbacks{})
			time.Sleep(5 * time.Second)
			c.want("another candidate leads", h.Ready, "")
		})
	}
}

func TestReady_ForgetsRefusalsOfAnEarlierRun(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		h, client := health.New(), c.server.Client("a")
		elector, err := leaderelection.New(configOf("a"), client.Clientset(), leaderelection.Callbacks{}, silent, h.Option())
		if err != nil {
			t.Fatal(err)
		}
		c.run(nil, "z", c.server.Client("z").Clientset(), leaderelection.Callbacks{})
		time.Sleep(time.Second)
		client.Deny("update")
		stop := c.runElector(elector)
		time.Sleep(time.Minute)
		c.want("a right is missing", h.Ready, " cannot update ")
		_ = stop()
		client.Allow()
		client.Network().Fail(http.StatusInternalServerError, 0, leaderelectiontest.Verbs("update"))
		c.runElector(elector)
		time.Sleep(time.Second)
		c.want("the next run", h.Ready, "")
	})
}
