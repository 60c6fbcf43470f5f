// Command farlink puts a long, narrow link before a backend, to see what a far one does to the proxy:
//
//	farlink -to 127.0.0.1:9001 -round-trip 30ms -rate 12500000 -loss 0.001 -back 'rate=2500000' -control 127.0.0.1:9191
//
// It prints the address to use as the backend's, and relays until it is ended. See package link. With -control it
// takes orders at that address:
//
//	curl 127.0.0.1:9191                                       # what the link is like, and what it has carried
//	curl -X POST '127.0.0.1:9191/cut'                         # nobody is told
//	curl -X POST '127.0.0.1:9191/mend?forgetful=true'         # without forgetful, its connections go on
//	curl -X POST '127.0.0.1:9191/flap?least=1s&most=3s'       # cut and mend in turn, until it is cut or mended
//	curl -X POST '127.0.0.1:9191/there?rate=1250000&loss=0'   # or back: delay, rate, queue, loss
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/akubra/akubra/internal/testkit/link"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "farlink: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	to := flag.String("to", "", "the backend's `address`")
	roundTrip := flag.Duration("round-trip", 30*time.Millisecond, "how `long` a byte takes there and back")
	rate := flag.Int64("rate", 12_500_000, "`bytes` a second, each direction; 0 is no limit")
	queue := flag.Int("queue", 1<<20, "`bytes` that wait for the rate at most")
	loss := flag.Float64("loss", 0.001, "the `share` of packets that are lost")
	differs := flag.String("back", "", "what is `different` from the backend, as in rate=2500000&loss=0")
	control := flag.String("control", "", "the `address` to take orders at; it is printed as well")
	flag.Parse()
	if *to == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	there := link.Direction{Delay: *roundTrip / 2, Rate: *rate, Queue: *queue, Loss: *loss}
	back, err := parse(there, *differs)
	if err != nil {
		return err
	}
	l, err := link.New(*to, there, back)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	defer l.Close()
	fmt.Println(l.Addr())
	if *control != "" {
		ln, err := net.Listen("tcp", *control)
		if err != nil {
			return fmt.Errorf("cannot take orders: %w", err)
		}
		fmt.Println(ln.Addr())
		go func() { _ = http.Serve(ln, newControl(l)) }() //nolint:gosec // it ends with the process
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	return nil
}
