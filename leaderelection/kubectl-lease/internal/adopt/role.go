package adopt

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// uses describes what package manager does with the election by default. The Role must
// grant all rights that these uses need.
var uses = rights.Uses{Events: true, PodEvents: true}

// roles is the editor of Roles that grant rights to Leases.
type roles struct{}

func (roles) missing(dir string) string {
	return dir + " has no Role for Leases: grant the rights that 'kubectl lease rights --events' prints"
}

func (roles) edit(f *yamlFile) (edits []edit, notes []string, found bool, err error) {
	for _, role := range f.documents {
		kind, rules := textAt(role, "kind"), items(valueAt(role, "rules"))
		concerns := slices.ContainsFunc(rules, func(rule *yaml.Node) bool {
			return includes(valueAt(rule, "apiGroups"), "coordination.k8s.io") && includes(valueAt(rule, "resources"), "leases")
		})
		if kind != "Role" || !concerns {
			continue
		}
		found = true
		more, err := f.grant(role, rules)
		if err != nil {
			return nil, nil, false, err
		}
		edits = append(edits, more...)
	}
	return edits, notes, found, nil
}

// grant returns the edits that make a Role grant all rights of uses.
func (f *yamlFile) grant(role *yaml.Node, rules []*yaml.Node) ([]edit, error) {
	var edits []edit
	var added []item
	for _, right := range uses.Rights() {
		if slices.ContainsFunc(rules, func(rule *yaml.Node) bool { return grants(rule, right) }) {
			continue
		}
		i := slices.IndexFunc(rules, func(rule *yaml.Node) bool { return extendable(rule, right) })
		if i < 0 {
			added = append(added, ruleOf(right))
			continue
		}
		e, err := f.appendText(rules[i], "verbs", right.Verb)
		if err != nil {
			return nil, err
		}
		edits = append(edits, e)
	}
	if len(added) == 0 {
		return edits, nil
	}
	e, err := f.insertItems(role, "rules", added...)
	return append(edits, e), err
}

// grants reports whether a rule grants a right. It assumes that a rule with
// resourceNames contains the name of the Lease.
func grants(rule *yaml.Node, r rights.Right) bool {
	named := len(items(valueAt(rule, "resourceNames"))) > 0
	return (!named || r.Verb != "create" && r.Resource == "leases") &&
		includes(valueAt(rule, "apiGroups"), r.Group) && includes(valueAt(rule, "resources"), r.Resource) && includes(valueAt(rule, "verbs"), r.Verb)
}

// extendable reports whether another verb in the rule grants the right, and grants no
// right to another resource.
func extendable(rule *yaml.Node, r rights.Right) bool {
	groups, resources := items(valueAt(rule, "apiGroups")), items(valueAt(rule, "resources"))
	named := len(items(valueAt(rule, "resourceNames"))) > 0
	return len(groups) == 1 && groups[0].Value == r.Group && len(resources) == 1 && resources[0].Value == r.Resource &&
		(!named || r.Verb != "create" && r.Resource == "leases")
}

func includes(list *yaml.Node, text string) bool {
	return slices.ContainsFunc(items(list), func(entry *yaml.Node) bool { return entry.Value == text || entry.Value == "*" })
}

// ruleOf returns a new rule that grants one right.
func ruleOf(r rights.Right) item {
	group := r.Group
	if group == "" {
		group = `""`
	}
	return item{
		[]string{"- apiGroups:", "  - " + group, "  resources:", "  - " + r.Resource, "  verbs:", "  - " + r.Verb},
		fmt.Sprintf("{apiGroups: [%s], resources: [%s], verbs: [%s]}", group, r.Resource, r.Verb),
	}
}
