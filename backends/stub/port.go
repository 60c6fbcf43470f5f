package stub

import "fmt"

// Reserve finds a free port of 127.0.0.1 and keeps it until release, so that the system gives it
// neither to outgoing connections (one to the port itself would even reach itself) nor to listeners
// on port 0. Whoever names the port can listen on it, repeatedly; while nobody does, connections to
// it are refused.
func Reserve() (addr string, release func(), err error) {
	port, release, err := holdPort()
	if err != nil {
		return "", nil, fmt.Errorf("cannot reserve a port: %w", err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port), release, nil
}
