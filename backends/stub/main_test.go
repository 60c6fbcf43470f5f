package stub

import (
	"net"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dialError is the error of an attempt to connect.
func dialError(addr string) error {
	nc, err := net.Dial("tcp", addr)
	if err == nil {
		nc.Close()
	}
	return err
}
