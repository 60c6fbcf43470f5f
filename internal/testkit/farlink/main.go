// Command farlink puts a long, narrow link before a backend, to see what a far one does to the proxy:
//
//	farlink -to 127.0.0.1:9001 -round-trip 30ms -rate 12500000 -loss 0.001
//
// It prints the address to use as the backend's, and relays until it is ended. See package link.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/akubra/akubra/internal/testkit/link"
)

func main() {
	to := flag.String("to", "", "the backend's `address`")
	roundTrip := flag.Duration("round-trip", 30*time.Millisecond, "how `long` a byte takes there and back")
	rate := flag.Int64("rate", 12_500_000, "`bytes` a second, each direction; 0 is no limit")
	queue := flag.Int("queue", 1<<20, "`bytes` that wait for the rate at most")
	loss := flag.Float64("loss", 0.001, "the `share` of packets that are lost")
	flag.Parse()
	if *to == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	l, err := link.New(*to, link.Options{Delay: *roundTrip / 2, Rate: *rate, Queue: *queue, Loss: *loss})
	if err != nil {
		fmt.Fprintf(os.Stderr, "farlink: cannot listen: %v\n", err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	l.Close()
}
