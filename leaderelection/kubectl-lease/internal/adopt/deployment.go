package adopt

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// deployments is the editor of Deployments.
type deployments struct {
	checked bool // true if the program serves both probes
}

// podVariables are the environment variables that name the Pod. Package manager uses
// POD_NAME for the identity, and all three for events on the Pod.
var podVariables = []struct{ name, field string }{
	{"POD_NAME", "metadata.name"},
	{"POD_NAMESPACE", "metadata.namespace"},
	{"POD_UID", "metadata.uid"},
}

func (deployments) missing(dir string) string {
	return dir + " has no Deployment: set POD_NAME, POD_NAMESPACE and POD_UID from the fields of the Pod, see hack/manifests/deployment.yaml"
}

func (d deployments) edit(f *yamlFile) (edits []edit, notes []string, found bool, err error) {
	for _, deployment := range f.documents {
		if textAt(deployment, "kind") != "Deployment" {
			continue
		}
		found = true
		pod := valueAt(deployment, "spec", "template", "spec")
		container := managerContainer(pod)
		if container == nil {
			notes = append(notes, f.path+" has no container with the name manager: set POD_NAME, POD_NAMESPACE and POD_UID by hand")
			continue
		}
		env, conflicts, err := f.setVariables(container)
		if err != nil {
			return nil, nil, false, err
		}
		probes, missing, err := d.addProbes(f, container)
		if err != nil {
			return nil, nil, false, err
		}
		edits = append(append(edits, env...), probes...)
		notes = append(append(notes, conflicts...), missing...)
		if note := shortStop(pod); note != "" {
			notes = append(notes, f.path+" "+note)
		}
	}
	return edits, notes, found, nil
}

// managerContainer returns the container with the name manager, or the only container.
func managerContainer(pod *yaml.Node) *yaml.Node {
	containers := items(valueAt(pod, "containers"))
	i := slices.IndexFunc(containers, func(c *yaml.Node) bool { return textAt(c, "name") == "manager" })
	switch {
	case i >= 0:
		return containers[i]
	case len(containers) == 1:
		return containers[0]
	}
	return nil
}

// setVariables returns the edits that set the missing variables. A variable that has
// another source remains, and gets a note.
func (f *yamlFile) setVariables(container *yaml.Node) (edits []edit, notes []string, err error) {
	var added []item
	env := items(valueAt(container, "env"))
	for _, v := range podVariables {
		i := slices.IndexFunc(env, func(entry *yaml.Node) bool { return textAt(entry, "name") == v.name })
		switch {
		case i < 0:
			added = append(added, item{
				[]string{"- name: " + v.name, "  valueFrom:", "    fieldRef:", "      fieldPath: " + v.field},
				fmt.Sprintf("{name: %s, valueFrom: {fieldRef: {fieldPath: %s}}}", v.name, v.field),
			})
		case textAt(env[i], "valueFrom", "fieldRef", "fieldPath") != v.field:
			notes = append(notes, fmt.Sprintf("%s:%d sets %s from another source than %s: check that it names the Pod", f.path, env[i].Line, v.name, v.field))
		}
	}
	if len(added) == 0 {
		return nil, notes, nil
	}
	e, err := f.insertItems(container, "env", added...)
	return []edit{e}, notes, err
}

// probeFlag matches the flag that sets the address of the probes.
var probeFlag = regexp.MustCompile(`^--?health-probe-bind-address=.*:(\d+)$`)

// addProbes returns the edits that add the missing probes. It adds a probe only if the
// program serves both, because a probe that never succeeds stops the operator.
func (d deployments) addProbes(f *yamlFile, container *yaml.Node) (edits []edit, notes []string, err error) {
	port := 0
	for _, arg := range items(valueAt(container, "args")) {
		if match := probeFlag.FindStringSubmatch(arg.Value); match != nil {
			port, _ = strconv.Atoi(match[1])
		}
	}
	for _, probe := range []struct{ name, path string }{{"livenessProbe", "/healthz"}, {"readinessProbe", "/readyz"}} {
		if k, _ := value(container, probe.name); k != nil {
			continue
		}
		if port == 0 || !d.checked {
			notes = append(notes, fmt.Sprintf("%s:%d has no %s: add one for %s, after the program serves it", f.path, container.Line, probe.name, probe.path))
			continue
		}
		e, err := f.insertKey(container, probe.name+":", "  httpGet:", "    path: "+probe.path, fmt.Sprintf("    port: %d", port))
		if err != nil {
			return nil, nil, err
		}
		edits = append(edits, e)
	}
	return edits, notes, nil
}

// shortStop returns a note if the Pod may be killed before a Manager with the default
// GracefulShutdownTimeout has stopped and released the Lease. See
// hack/manifests/deployment.yaml.
func shortStop(pod *yaml.Node) string {
	const least = 40
	text := cmp.Or(textAt(pod, "terminationGracePeriodSeconds"), "30")
	if seconds, err := strconv.Atoi(text); err != nil || seconds >= least {
		return ""
	}
	return fmt.Sprintf("stops the Pod after %s s (terminationGracePeriodSeconds): raise it to %d if a reconciliation may take longer, "+
		"because the Lease of a killed Pod is not released", text, least)
}
