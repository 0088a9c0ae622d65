package methods

func (e *Elector) b() {}

func (scattered) b() {} // want: in 4 files

func (gathered) b() {}
