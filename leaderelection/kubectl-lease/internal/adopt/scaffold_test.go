package adopt_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A scaffold describes an operator. The files have the shape that kubebuilder 4 gives an
// operator, reduced to what concerns the election. They are written for these tests.
type scaffold struct {
	webhooks   bool // a webhook server with options, and one webhook
	multigroup bool // a controller in a folder for its group, and other environment variables
}

var scaffolds = map[string]scaffold{
	"plain":                   {},
	"webhooks":                {webhooks: true},
	"multigroup":              {multigroup: true},
	"webhooks and multigroup": {webhooks: true, multigroup: true},
}

// write creates the operator in a new folder and returns the folder.
func (s scaffold) write(t *testing.T) string {
	t.Helper()
	controllers := "internal/controller"
	if s.multigroup {
		controllers += "/apps"
	}
	main := pick(mainGo, "webhooks", s.webhooks)
	main = strings.ReplaceAll(main, "CONTROLLERS", "example.com/operator/"+controllers)
	manager := pick(managerYAML, "multigroup", s.multigroup)
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"cmd/main.go":                           main,
		"go.mod":                                "module example.com/operator\n\ngo 1.25.0\n\nrequire sigs.k8s.io/controller-runtime v0.23.3\n",
		"config/manager/kustomization.yaml":     "resources:\n- manager.yaml\n",
		"config/manager/manager.yaml":           manager,
		"config/rbac/leader_election_role.yaml": roleYAML,
		"config/rbac/role.yaml":                 "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: manager-role\nrules: []\n",
		controllers + "/job_controller.go":      controllerGo,
		"internal/webhook/v1/job_webhook.go":    webhookGo,
	})
	return dir
}

// pick keeps the lines of a template that end in "// name" or "# name" if keep is true,
// without this mark. Otherwise it removes them.
func pick(template, name string, keep bool) string {
	var b strings.Builder
	for line := range strings.Lines(template) {
		for _, comment := range []string{" // " + name + "\n", " # " + name + "\n"} {
			if body, marked := strings.CutSuffix(line, comment); marked {
				line = ""
				if keep {
					line = body + "\n"
				}
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// readFiles returns the content of all files in a folder.
func readFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(file)
		name, _ := filepath.Rel(dir, file)
		files[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

const mainGo = `package main

import (
	"crypto/tls" // webhooks
	"flag"
	"os"

	// The plugins for the authentication of clients.
	_ "k8s.io/client-go/plugin/pkg/client/auth"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/webhook" // webhooks

	"CONTROLLERS"
	webhookv1 "example.com/operator/internal/webhook/v1" // webhooks
	// +kubebuilder:scaffold:imports
)

var (
	scheme   = runtime.NewScheme()
	setupLog = ctrl.Log.WithName("setup")
)

func main() {
	var probeAddr string
	var enableLeaderElection bool
	flag.StringVar(&probeAddr, "health-probe-bind-address", ":8081", "Address of the probes.")
	flag.BoolVar(&enableLeaderElection, "leader-elect", false, "Elect a leader.")
	flag.Parse()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		os.Exit(1)
	}

	mgr, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme:                 scheme,
		WebhookServer:          webhook.NewServer(webhook.Options{TLSOpts: []func(*tls.Config){}}), // webhooks
		HealthProbeBindAddress: probeAddr,
		LeaderElection:         enableLeaderElection,
		LeaderElectionID:       "1234abcd.example.com",
		// A comment about an option.
		// LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		setupLog.Error(err, "Failed to start manager")
		os.Exit(1)
	}
	if err := controller.Setup(mgr); err != nil {
		os.Exit(1)
	}
	if err := webhookv1.Setup(mgr); err != nil { // webhooks
		os.Exit(1) // webhooks
	} // webhooks
	// +kubebuilder:scaffold:builder

	if err := mgr.AddHealthzCheck("healthz", healthz.Ping); err != nil {
		setupLog.Error(err, "Failed to set up health check")
		os.Exit(1)
	}
	if err := mgr.AddReadyzCheck("readyz", healthz.Ping); err != nil {
		setupLog.Error(err, "Failed to set up ready check")
		os.Exit(1)
	}
	if err := mgr.Start(ctrl.SetupSignalHandler()); err != nil {
		setupLog.Error(err, "Failed to run manager")
		os.Exit(1)
	}
}
`

const controllerGo = `// Package controller has a controller.
package controller

import ctrl "sigs.k8s.io/controller-runtime"

// Setup adds the controller.
func Setup(ctrl.Manager) error { return nil }
`

const webhookGo = `// Package v1 has a webhook.
package v1

import ctrl "sigs.k8s.io/controller-runtime"

// Setup adds the webhook.
func Setup(ctrl.Manager) error { return nil }
`

const roleYAML = `# permissions to do leader election.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  labels:
    app.kubernetes.io/name: operator
  name: leader-election-role
rules:
- apiGroups:
  - ""
  resources:
  - configmaps
  verbs:
  - get
  - watch
- apiGroups:
  - coordination.k8s.io
  resources:
  - leases
  verbs:
  - get
  - list
  - create
  - update # renewals
- apiGroups:
  - ""
  resources:
  - events
  verbs:
  - create
  - patch
`

const managerYAML = `apiVersion: v1
kind: Namespace
metadata:
  name: system
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: controller-manager
  namespace: system
spec:
  replicas: 1
  template:
    metadata:
      annotations:
        kubectl.kubernetes.io/default-container: manager
    spec:
      # affinity:
      #   nodeAffinity: {}
      containers:
      - command:
        - /manager
        args:
          - --leader-elect
          - --health-probe-bind-address=:8081
        image: controller:latest
        name: manager
        env: # multigroup
        # The image of another container. # multigroup
        - name: OTHER_IMAGE # multigroup
          value: busybox:1.36.1 # multigroup
        ports:
        - containerPort: 8081
          name: health
          protocol: TCP
        livenessProbe:
          httpGet:
            path: /healthz
            port: 8081
          initialDelaySeconds: 15
        readinessProbe:
          httpGet:
            path: /readyz
            port: 8081
        # More info: a comment.
        resources:
          limits:
            cpu: 500m
        volumeMounts: []
      volumes: []
      serviceAccountName: controller-manager
      terminationGracePeriodSeconds: 10
`
