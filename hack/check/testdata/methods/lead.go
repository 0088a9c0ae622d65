package methods

func (*scattered) c() {} // want: in 4 files

func (gathered) c() {}
