package stub

import "fmt"

// Reserve finds a free port of 127.0.0.1 and keeps it, until release, from whoever
// takes just any: outgoing connections (one to the port itself would even be answered,
// by itself) and listeners on port 0. Who names the port can listen on it, as often
// as it pleases; while nobody does, connections to it are refused.
func Reserve() (addr string, release func(), err error) {
	port, release, err := holdPort()
	if err != nil {
		return "", nil, fmt.Errorf("cannot reserve a port: %w", err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port), release, nil
}
