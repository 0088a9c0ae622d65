package leaderelection

import "sync"

// tasks is where goroutines begin. Those of the elector are started by run and
// joined by wait, before Run returns. Those that run a user's callback are
// detached: their ends are awaited where the term is stopped, as long as that
// allows, for a callback may refuse to return.
type tasks struct {
	group sync.WaitGroup
}

func (t *tasks) run(f func())    { t.group.Go(f) }
func (t *tasks) wait()           { t.group.Wait() }
func (t *tasks) detach(f func()) { go f() }
