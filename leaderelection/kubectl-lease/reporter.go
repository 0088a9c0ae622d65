package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease/internal/explain"
)

// A reporter prints the reports of the command explain.
type reporter struct {
	*explainOptions
	out     io.Writer
	warn    func(error)
	info    *clusterInfo
	printed *explain.Report // the last report that was printed; nil if no report was printed yet
	failed  error           // the error of the last attempt to print a report
}

// explain runs the command explain and returns its exit code. It calls warn for each
// warning.
func (o *explainOptions) explain(ctx context.Context, clientset kubernetes.Interface, out io.Writer, warn func(error)) (int, error) {
	r := &reporter{explainOptions: o, out: out, warn: warn,
		info: &clusterInfo{explainOptions: o, clientset: clientset, known: make(chan struct{})}}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	defer func() { cancel(); <-done }()
	go func() { defer close(done); r.info.refresh(ctx) }()
	watcher := explain.Watcher{Leases: clientset.CoordinationV1().Leases(o.namespace), Name: o.name}
	if o.watch {
		return r.reportChanges(ctx, watcher)
	}
	return r.reportOnce(ctx, watcher)
}

// reportOnce prints one report. It observes the Lease until the report is certain, but
// not for longer than --wait.
func (r *reporter) reportOnce(ctx context.Context, watcher explain.Watcher) (int, error) {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	var report *explain.Report
	watcher.OnObserved = func(observed explain.Observed) bool {
		if report == nil {
			time.AfterFunc(r.wait, stop)
		}
		report = ptr.To(r.report(observed))
		return !report.Certain && r.wait > 0
	}
	// OnError is not set, because reportOnce prints no warnings. Without the right to
	// watch the Lease, the Watcher reads the Lease.
	if err := watcher.Run(waiting); err != nil {
		return exitUnknown, err
	}
	if report == nil {
		return exitUnknown, context.Cause(ctx)
	}
	r.info.await(ctx)
	r.info.addTo(report)
	if err := r.print(report); err != nil {
		return exitUnknown, err
	}
	return exitCode(report), nil
}

// exitCode returns the exit code for a report. It is exitUnknown if the report does not
// show whether the holder leads.
func exitCode(r *explain.Report) int {
	switch {
	case r.ContactLost || r.State == explain.Unconfirmed || r.State == explain.Expired && !r.Certain:
		return exitUnknown
	case r.NobodyLeads():
		return exitNobody
	default:
		return exitLeads
	}
}

// infoTimeout is how long explain --watch waits for the information about the cluster
// before its first report. The information usually arrives earlier. If the information
// arrives later, explain prints it as a change.
const infoTimeout = time.Second

// reportChanges prints the first report, and then each change until ctx is done. The
// exit code does not depend on whether the Lease has a leader.
func (r *reporter) reportChanges(ctx context.Context, watcher explain.Watcher) (int, error) {
	waiting, cancel := context.WithTimeout(ctx, infoTimeout)
	r.info.await(waiting)
	if cancel(); ctx.Err() != nil {
		return exitUnknown, context.Cause(ctx)
	}
	watcher.OnObserved = func(observed explain.Observed) bool {
		report := r.report(observed)
		r.info.addTo(&report)
		r.failed = r.printChange(&report)
		return r.failed == nil
	}
	watcher.OnError = func(err error) {
		if err == nil {
			err = errors.New("the Lease can be read and watched again")
		}
		r.warn(err)
	}
	if err := errors.Join(watcher.Run(ctx), r.failed); err != nil {
		return exitUnknown, err
	}
	return exitLeads, nil
}

func (r *reporter) report(observed explain.Observed) explain.Report {
	report := explain.Explain(observed, time.Now())
	report.Lease = r.namespace + "/" + r.name
	return report
}

// print prints the whole report, as text, as one line of JSON, or as a YAML document.
func (r *reporter) print(report *explain.Report) error {
	switch r.output {
	case "json":
		return json.NewEncoder(r.out).Encode(report)
	case "yaml":
		text, err := toYAML(report)
		if err != nil {
			return err
		}
		if r.watch {
			text = append([]byte("---\n"), text...)
		}
		_, err = r.out.Write(text)
		return err
	default:
		_, err := io.WriteString(r.out, report.String())
		return err
	}
}

// printChange prints a report if it is the first report, or if it differs from the
// previously printed report. In the text format, printChange prints only the
// differences from the previous report. In the other formats, it prints the whole
// report.
func (r *reporter) printChange(report *explain.Report) error {
	before := r.printed
	if before != nil && report.Same(*before) {
		return nil
	}
	r.printed = report
	if r.output != "text" || before == nil {
		return r.print(report)
	}
	_, err := io.WriteString(r.out, report.Update(*before))
	return err
}
