package explain

// Rights are what a service account may and may not do of what it needs.
type Rights struct {
	// Account was asked for.
	Account string `json:"account"`

	// Missing says what it may not do, and what follows.
	Missing []string `json:"missing,omitempty"`

	// Problem says why that could not be found out.
	Problem string `json:"problem,omitempty"`
}

func (r Rights) lines() []string {
	switch {
	case r.Problem != "":
		return []string{r.Problem}
	case len(r.Missing) == 0:
		return []string{r.Account + " has all it needs"}
	}
	lines := []string{r.Account + " lacks rights:"}
	for _, missing := range r.Missing {
		lines = append(lines, "  "+missing)
	}
	return lines
}
