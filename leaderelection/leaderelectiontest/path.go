package leaderelectiontest

import "strings"

type apiPath struct{ Group, Version, Namespace, Resource, Name, Subresource string }

func parsePath(path string) (p apiPath, ok bool) {
	rest := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case rest[0] == "api" && len(rest) > 2:
		p.Version, rest = rest[1], rest[2:]
	case rest[0] == "apis" && len(rest) > 3:
		p.Group, p.Version, rest = rest[1], rest[2], rest[3:]
	default:
		return p, false
	}
	if rest[0] == "namespaces" && len(rest) > 1 {
		p.Namespace = rest[1]
		if within := len(rest) > 2 && rest[2] != "status" && rest[2] != "finalize"; within {
			rest = rest[2:]
		}
	}
	p.Resource = rest[0]
	if len(rest) > 1 {
		p.Name = rest[1]
	}
	if len(rest) > 2 {
		p.Subresource = strings.Join(rest[2:], "/")
	}
	return p, true
}
