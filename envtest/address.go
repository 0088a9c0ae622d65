package envtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// ownHost returns the loopback address on which the servers listen. ownHost
// prefers a random address, because on 127.0.0.1 another program could take the
// port of a stopped server.
func ownHost() string {
	for range 10 {
		host := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
		if _, err := freePort(host); err == nil {
			return host
		}
	}
	return "127.0.0.1" // on systems other than Linux, 127.0.0.1 is the only loopback address
}

func freePort(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// freePorts returns n different ports that are free on host.
func freePorts(host string, n int) ([]string, error) {
	seen := map[string]bool{}
	ports := make([]string, 0, n)
	for len(ports) < n {
		port, err := freePort(host)
		if err != nil {
			return nil, fmt.Errorf("finding a free port on %s: %w", host, err)
		}
		if !seen[port] {
			seen[port] = true
			ports = append(ports, port)
		}
	}
	return ports, nil
}
