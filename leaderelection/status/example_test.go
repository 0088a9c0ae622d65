package status_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/status"
)

// This example serves the status page, and reads it as JSON.
func Example() {
	server := leaderelectiontest.NewServer() // replaces the real API server in this example
	defer server.Close()
	clientset, logger := server.Client("pod-1").Clientset(), slog.New(slog.DiscardHandler)

	page, mux := status.New(), http.NewServeMux()
	mux.Handle("/leaderelection", page)

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	config := &leaderelection.Config{
		Enabled: true, Identity: "pod-1", LeaseName: "my-app-leader", LeaseNamespace: "default", ReleaseOnCancel: true,
	}
	callbacks := leaderelection.Callbacks{
		OnStartedLeading: func(context.Context) {
			printStatus(mux)
			stop()
		},
	}
	elector, err := leaderelection.New(config, clientset, callbacks, logger, page.Option())
	if err != nil {
		fmt.Println(err)
		return
	}
	printStatus(mux)
	if err := elector.Run(ctx); err != nil {
		fmt.Println(err)
	}

	// Output:
	// default/my-app-leader: running false, leading false
	// default/my-app-leader: running true, leading true
}

func printStatus(handler http.Handler) {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/leaderelection?format=json", http.NoBody))
	var report status.Report
	if err := json.Unmarshal(answer.Body.Bytes(), &report); err != nil {
		fmt.Println(err)
		return
	}
	for _, elector := range report.Electors {
		fmt.Printf("%s: running %t, leading %t\n", elector.Lease, elector.Running, elector.Leading)
	}
}
