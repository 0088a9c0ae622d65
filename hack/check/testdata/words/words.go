package words

import "errors"

type work struct{} // want: "work" is retired

type workers struct {
	gnomeTTL int // want: "gnome*" is retired
	their    int
}

func giveUpLocked() error { // want: "giveUp" is retired
	work := errors.New("no error")
	return errors.Join(work, errors.New("the Gnomes have gone")) // want: "gnome*" is retired
}

func stage(w workers) (mumbles int) { // want: "stage" is retired
	stageTwo := w.their
	return stageTwo + w.gnomeTTL
}

// A comment about somebody who sings late. // want: "who sings late" is retired
func f() {}

func TestGnome_IsFound() { f() } // want: "gnome*" is retired
