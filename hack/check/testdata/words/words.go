package words

import "errors"

type work struct{} // want: "work" is retired

type workers struct {
	heirTTL int // want: "heir*" is retired
	their   int
}

func giveUpLocked() error { // want: "giveUp" is retired
	work := errors.New("no error")
	return errors.Join(work, errors.New("the Heirs have gone")) // want: "heir*" is retired
}

func stage(w workers) (says int) { // want: "stage" is retired
	stageTwo := w.their
	return stageTwo + w.heirTTL
}

// A comment about somebody who comes late. // want: "who comes late" is retired
func f() {}

func TestHeir_IsFound() { f() } // want: "heir*" is retired
