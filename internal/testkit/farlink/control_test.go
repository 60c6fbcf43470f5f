package main

import (
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/akubra/akubra/internal/testkit"
	"github.com/akubra/akubra/internal/testkit/link"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestOrders gives a link orders while it runs.
func TestOrders(t *testing.T) {
	l, err := link.New(testkit.MustEcho(t), link.Direction{}, link.Direction{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	control := httptest.NewServer(newControl(l))
	defer control.Close()
	client := control.Client()
	order := func(order string, status int) {
		t.Helper()
		answer, err := client.Post(control.URL+order, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != status {
			t.Errorf("%s: %d", order, answer.StatusCode)
		}
	}
	c := testkit.MustDial(t, l.Addr())
	echoes := func() bool { // reports whether a byte comes back
		_, _ = c.Write([]byte("x"))
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		n, _ := c.Read(make([]byte, 1))
		return n == 1
	}
	if !echoes() {
		t.Error("no echo")
	}
	order("/cut", 200)
	if l.Whole() {
		t.Error("it is not cut")
	}
	order("/mend", 200)
	if !l.Whole() || !echoes() {
		t.Error("it is not mended")
	}
	order("/flap?least=1ms&most=3ms", 200)
	for _, want := range []bool{false, true, false} {
		testkit.Eventually(t, "it flaps", func() bool { return l.Whole() == want })
	}
	if !echoes() {
		t.Error("nothing passes while it flaps")
	}
	order("/cut", 200)
	order("/mend?forgetful=true", 200)
	if !l.Whole() {
		t.Error("it is not mended")
	}
	order("/flap?least=1h&most=1h", 200) // of which Close is not to wait for the end
	order("/there?rate=1000000&loss=0.5", 200)
	order("/back?delay=3ms&queue=7", 200)
	for _, wrong := range []string{"/end", "/there?pace=1", "/back?rate=fast", "/flap", "/flap?least=3s&most=1s", "/flap?least=0s&most=1s", "/cut?%zz"} {
		order(wrong, 400)
	}
	answer, err := client.Get(control.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var s state
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	if !s.Whole || s.There.Rate != 1e6 || s.There.Loss != 0.5 || s.There.Delay != 0 || s.Back.Delay != 3*time.Millisecond || s.Back.Queue != 7 || s.Back.Rate != 0 || s.There.Carried == 0 {
		t.Errorf("%+v", s)
	}
}
