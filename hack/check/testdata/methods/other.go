package methods

func (e *Elector) c() {} // want: belong in
func (e *Elector) d() {}

func (scattered) d() {} // want: in 4 files
