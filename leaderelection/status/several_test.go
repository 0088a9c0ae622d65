package status_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/status"
)

// headings returns the headings of the page.
func headings(page *status.Page) (all []string) {
	for line := range strings.Lines(get(page, "/", "text/html").Body.String()) {
		if heading, ok := strings.CutPrefix(strings.TrimSpace(line), "<h2>"); ok {
			all = append(all, strings.TrimSuffix(heading, "</h2>"))
		}
	}
	return all
}

func hostOf(s *leaderelectiontest.Server) string {
	return strings.TrimPrefix(s.Client("pod-1").Config().Host, "http://")
}

func TestPage_DistinguishesLeasesOfOneName(t *testing.T) {
	inTestCluster(t, func(t *testing.T, page *status.Page, east *leaderelectiontest.Server) {
		west := leaderelectiontest.NewServer()
		defer west.Close()
		run(t, page, east, "pod-1")
		synctest.Wait()
		if got := headings(page); len(got) != 1 || got[0] != "Lease default/my-app" {
			t.Errorf("the headings for one Elector are %q", got)
		}
		_, stop := run(t, page, west, "pod-1")
		defer stop()
		time.Sleep(time.Second)
		if got := headings(page); len(got) != 2 || got[0] != "Lease default/my-app on "+hostOf(east) || got[1] != "Lease default/my-app on "+hostOf(west) {
			t.Errorf("the headings for two clusters are %q", got)
		}
		report := getJSON(t, page)
		if e := report.Electors; e[0].Lease != e[1].Lease || e[0].APIServer != hostOf(east) || e[1].APIServer != hostOf(west) || !e[0].Leading || !e[1].Leading {
			t.Errorf("the report for two clusters is %+v", e)
		}
		run(t, page, east, "pod-2")
		time.Sleep(time.Second)
		if got := headings(page); len(got) != 3 || !strings.HasSuffix(got[0], "identity &#34;pod-1&#34;") || !strings.HasSuffix(got[1], "identity &#34;pod-2&#34;") {
			t.Errorf("the headings for two identities are %q", got)
		}
	})
}

func TestPage_OneOptionServesSeveralElectors(t *testing.T) {
	inTestCluster(t, func(t *testing.T, page *status.Page, server *leaderelectiontest.Server) {
		option := page.Option()
		for _, lease := range []string{"first", "second"} {
			client := server.Client(lease)
			if lease == "first" {
				client.Network().Cut(leaderelectiontest.Refuse)
			}
			config := &leaderelection.Config{Enabled: true, Identity: "pod-1", LeaseName: lease, LeaseNamespace: "default", ReleaseOnCancel: true}
			elector, err := leaderelection.New(config, client.Clientset(), leaderelection.Callbacks{}, slog.New(slog.DiscardHandler), option)
			if err != nil {
				t.Fatal(err)
			}
			start(t, elector)
		}
		time.Sleep(time.Minute)
		e := getJSON(t, page).Electors
		if len(e) != 2 || e[0].Lease != "default/first" || e[1].Lease != "default/second" {
			t.Fatalf("the Electors are %+v", e)
		}
		if first, second := changesOf(e[0]), changesOf(e[1]); !strings.Contains(first, "requests fail") || strings.Contains(second, "requests fail") {
			t.Errorf("the changes of the Elector that is cut off: %s\nthe changes of the other Elector: %s", first, second)
		}
	})
}

// An Elector whose work does not stop must remain on the page, even if another Elector
// for the same Lease runs.
func TestPage_ShowsWorkThatOutlivesRun(t *testing.T) {
	inTestCluster(t, func(t *testing.T, page *status.Page, server *leaderelectiontest.Server) {
		returned := make(chan struct{})
		config := &leaderelection.Config{Enabled: true, Identity: "pod-1", LeaseName: "my-app", LeaseNamespace: "default", StopTimeout: time.Second}
		elector, err := leaderelection.New(config, server.Client("pod-1").Clientset(), leaderelection.Callbacks{OnStartedLeading: func(context.Context) { <-returned }},
			slog.New(slog.DiscardHandler), page.Option())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := elector.Run(ctx); !errors.Is(err, leaderelection.ErrWorkStillRunning) {
			t.Fatalf("Run = %v, want ErrWorkStillRunning", err)
		}
		const failure = "the work of the last term is still running"
		if e := getJSON(t, page).Electors; len(e) != 1 || e[0].Running || !strings.Contains(e[0].RunError, failure) || !strings.Contains(e[0].Stuck, failure) {
			t.Errorf("after Run the report is %+v", e)
		}
		if text := get(page, "/", "text/html").Body.String(); !strings.Contains(text, "Stopped with an error:</b> "+failure) {
			t.Errorf("the page does not show the error:\n%s", text)
		}
		_, stop := run(t, page, server, "pod-1")
		time.Sleep(time.Minute)
		if e := getJSON(t, page).Electors; len(e) != 2 || e[0].Stuck == "" || !e[1].Leading {
			t.Errorf("while another Elector runs, the report is %+v", e)
		}
		close(returned)
		if e := getJSON(t, page).Electors; len(e) != 1 || !e[0].Leading {
			t.Errorf("after the work has returned, the report is %+v", e)
		}
		stop()
	})
}

// Readers such as JavaScript and jq store numbers as float64, which rounds tokens above
// 2^53.
func TestReport_EncodesTheTokenAsAString(t *testing.T) {
	const token = 1753647547040015001
	encoded, err := json.Marshal(status.Elector{Term: token})
	if err != nil {
		t.Fatal(err)
	}
	var decoded status.Elector
	if err := json.Unmarshal(encoded, &decoded); err != nil || decoded.Term != token {
		t.Errorf("the token is decoded as %v: %v", decoded.Term, err)
	}
	var generic map[string]any
	if err := json.Unmarshal(encoded, &generic); err != nil || generic["term"] != strconv.Itoa(token) {
		t.Errorf("a generic reader decodes the token as %v: %v", generic["term"], err)
	}
}

// In each report, the facts about an Elector must agree with each other and with the
// Elector's own methods.
func TestReport_Agrees(t *testing.T) {
	inTestCluster(t, func(t *testing.T, page *status.Page, server *leaderelectiontest.Server) {
		electors := map[string]*leaderelection.Elector{}
		for _, identity := range []string{"pod-1", "pod-2"} {
			electors[identity], _ = run(t, page, server, identity)
			time.Sleep(time.Second)
		}
		network := server.Client("pod-1").Network()
		network.Cut(leaderelectiontest.Hang)
		for range 3000 {
			time.Sleep(10 * time.Millisecond)
			for _, e := range getJSON(t, page).Electors {
				state := electors[e.Identity].State()
				if e.Leading != (e.ValidFor > 0) || e.Leading != (e.Term != 0) || e.Leading != (e.Since != nil) || e.Leading != electors[e.Identity].IsLeader() ||
					e.Leading != state.Leading || e.Leader != state.Leader || e.Leader != electors[e.Identity].GetLeader() || e.Leading && e.Leader != e.Identity ||
					e.LastError != state.LastError || e.Successor != state.Successor || e.Watching != state.Watching || e.Running != state.Running {
					t.Fatalf("the report is %+v, the state is %+v", e, state)
				}
			}
		}
		network.Heal()
	})
}
