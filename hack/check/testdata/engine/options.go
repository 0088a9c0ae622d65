package engine

import (
	_ "k8s.io/client-go/tools/leaderelection" // want: belongs in clientgo.go
	_ "k8s.io/client-go/tools/leaderelection/resourcelock"
)
