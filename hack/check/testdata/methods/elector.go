package methods

type Elector struct{}

func (e *Elector) a() {}

type scattered struct{}

func (scattered) a() {} // want: in 4 files

type gathered struct{}

func (gathered) a() {}
