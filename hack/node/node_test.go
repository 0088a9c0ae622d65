//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseHierarchies(t *testing.T) {
	for _, tc := range []struct {
		name, mounts string
		want         []hierarchy
	}{
		{"no cgroups", "proc /proc proc rw 0 0\n", nil},
		{"cgroup v2", "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0\n", []hierarchy{{Folder: "/sys/fs/cgroup"}}},
		{"cgroup v1, with an empty hierarchy of v2", `
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,nodev,noexec,relatime,cpu,cpuacct 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,release_agent=/lib/agent,name=systemd 0 0
`, []hierarchy{{"/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"}, {"/sys/fs/cgroup/systemd", "none,name=systemd"}}},
		{"a damaged line", "cgroup\n", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, parseHierarchies(tc.mounts)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// readTar returns the names and the contents of the files in an archive.
func readTar(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	contents := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return contents
		}
		if err != nil {
			t.Fatal(err)
		}
		if contents[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestImage_ContainsTheProgramAndNamesItsLayerByHash(t *testing.T) {
	var out bytes.Buffer
	if err := writeImage(&out, "registry.invalid/x:1", []byte("program"), "pause"); err != nil {
		t.Fatal(err)
	}
	image := readTar(t, out.Bytes())
	if got := readTar(t, image["layer.tar"]); string(got["program"]) != "program" {
		t.Errorf("the layer contains %q", got)
	}
	var index []struct {
		Config   string
		RepoTags []string
	}
	if err := json.Unmarshal(image["manifest.json"], &index); err != nil || len(index) != 1 || !slices.Equal(index[0].RepoTags, []string{"registry.invalid/x:1"}) {
		t.Fatalf("manifest.json is %s, %v", image["manifest.json"], err)
	}
	var config struct {
		Config struct {
			Entrypoint []string
			User       string
		} `json:"config"`
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(image[index[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	if want := []string{"sha256:" + sum(image["layer.tar"])}; !slices.Equal(config.RootFS.DiffIDs, want) {
		t.Errorf("the layers are %q, want %q", config.RootFS.DiffIDs, want)
	}
	if want := []string{"/program", "pause"}; !slices.Equal(config.Config.Entrypoint, want) {
		t.Errorf("the entry point is %q, want %q", config.Config.Entrypoint, want)
	}
	if config.Config.User != "65532" {
		t.Errorf("the user is %q: runAsNonRoot needs a number that is not 0", config.Config.User)
	}
}

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// at returns noon plus a number of milliseconds.
func at(milliseconds int) time.Time { return noon.Add(time.Duration(milliseconds) * time.Millisecond) }

// worked returns the work of a process that started 100 ms after noon.
func worked(pod string, from, to int) work {
	w := work{process: report{Pod: pod, Started: at(100)}, from: at(from)}
	if to >= 0 {
		w.to = at(to)
	}
	return w
}

func TestJudge(t *testing.T) {
	const millisecond = time.Millisecond
	for _, tc := range []struct {
		name  string
		works []work
		want  outcome
	}{
		{"no work", nil, outcome{}},
		{"one process works", []work{worked("a", 200, -1)}, outcome{}},
		{"a handover", []work{worked("a", 200, 300), worked("b", 340, -1)},
			outcome{idle: 40 * millisecond, handovers: 1, start: 240 * millisecond}},
		{"two handovers", []work{worked("a", 200, 300), worked("b", 340, 400), worked("a", 410, -1)},
			outcome{idle: 50 * millisecond, handovers: 2, start: 310 * millisecond}},
		{"the same process continues", []work{worked("a", 200, 300), worked("a", 340, -1)}, outcome{}},
		{"two processes worked before", []work{worked("a", 200, -1), worked("b", 220, 240)}, outcome{handovers: 1, start: 120 * millisecond}},
		{"two processes work", []work{worked("a", 200, 300), worked("b", 290, -1)},
			outcome{handovers: 1, start: 190 * millisecond, overlap: 10 * millisecond}},
		{"a process works on beside its successor", []work{worked("a", 200, -1), worked("b", 600, -1)},
			outcome{handovers: 1, start: 500 * millisecond, overlap: 400 * millisecond}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := judge(tc.works, at(250), at(1000)); got != tc.want {
				t.Errorf("judge() = %+v, want %+v", got, tc.want)
			}
		})
	}
}

// recorded runs workUntilDone and returns what it reports, with the times since its start.
func recorded(ctx context.Context, allowed func(context.Context) bool) []string {
	start := time.Now()
	var reports []string
	workUntilDone(ctx, allowed, func(k kind, at time.Time) {
		reports = append(reports, string(k)+" "+at.Sub(start).String())
	})
	return reports
}

func TestWork_BeginsWhenAllowedAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 21*time.Millisecond)
		defer cancel()
		start := time.Now()
		got := recorded(ctx, func(context.Context) bool { return time.Since(start) >= 10*time.Millisecond })
		if diff := cmp.Diff([]string{"began 10ms", "ended 21ms"}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestWork_EndsWhenItIsNotAllowedAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		got := recorded(ctx, func(context.Context) bool { return time.Since(start) < 10*time.Millisecond })
		if diff := cmp.Diff([]string{"began 0s", "ended 10ms"}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// A frozen process cannot report that it does not work.
func TestWork_AFrozenProcessDoesNotWorkMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		calls := 0
		got := recorded(ctx, func(context.Context) bool {
			if calls++; calls == 3 {
				time.Sleep(time.Second) // stands for SIGSTOP
			}
			return true
		})
		if diff := cmp.Diff([]string{"began 0s", "ended 4ms", "began 1.006s", "ended 3s"}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestRepetitions_AreAtLeastOne(t *testing.T) {
	for _, tc := range []struct{ n, share, want int }{{20, 1, 20}, {20, 4, 5}, {4, 8, 1}} {
		if got := repetitions(tc.n, tc.share); got != tc.want {
			t.Errorf("repetitions(%d, %d) = %d, want %d", tc.n, tc.share, got, tc.want)
		}
	}
}

func TestOverlapped_ConcernsOnlyThisProjectsElection(t *testing.T) {
	bad := []outcome{{}, {overlap: time.Millisecond}}
	if overlapped([]result{{"oom", controllerRuntime, bad}, {"oom", incumbent, []outcome{{}}}}) {
		t.Error("an overlap of controller-runtime counts")
	}
	if !overlapped([]result{{"oom", incumbent, bad}}) {
		t.Error("an overlap of this project does not count")
	}
}

func TestTable_HasTheElectionsOfAScenarioBesideEachOther(t *testing.T) {
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	got := table([]result{
		{"oom", controllerRuntime, []outcome{{idle: second(15), handovers: 1, start: second(1), overlap: 1}}},
		{"sigkill", incumbent, []outcome{{idle: second(0.4), handovers: 1}}},
		{"oom", incumbent, []outcome{{idle: second(3), handovers: 2}, {idle: second(0.5), handovers: 1}}},
		{"single-oom", noElection, []outcome{{idle: second(1), handovers: 1, start: second(0.25)}}},
	})
	var words [][]string
	for line := range strings.Lines(got) {
		words = append(words, strings.Fields(line))
	}
	want := [][]string{
		strings.Fields("scenario election n idle median idle worst start to work handovers overlaps"),
		strings.Fields("sigkill incumbent 1 0.400 s 0.400 s - 1 0"),
		strings.Fields("oom incumbent 2 1.750 s 3.000 s - 1 to 2 0"),
		strings.Fields("oom controller-runtime 1 15.000 s 15.000 s - 1 1"),
		strings.Fields("single-oom none 1 1.000 s 1.000 s 0.250 s 1 0"),
	}
	if diff := cmp.Diff(want, words); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
