package pkg

import "testing"

func TestPkg_IsKnown(t *testing.T) {}
