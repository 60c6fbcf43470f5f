package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const soakKeys = 80

// chunkedEnd is what follows an object's last byte in aws-chunked: the last chunk, which is
// empty, and a checksum. A backend may store an object that lacks no more than that.
const chunkedEnd = 40

// TestSoakR35: clients put, get, delete, tag, copy, upload in parts, purge versions, hold
// and cut uploads off at random, while backends are frozen, killed and wiped, and the proxy
// is killed. No client is ever given a short or a mixed object, and after repair both
// backends hold what was acknowledged, or the key is parked.
// INTEROP_SOAK is how long it takes.
func TestSoakR35(t *testing.T) {
	length := 30 * time.Second
	if full() {
		length = 10 * time.Minute
	}
	if v := os.Getenv("INTEROP_SOAK"); v != "" {
		var err error
		if length, err = time.ParseDuration(v); err != nil {
			t.Fatal(err)
		}
	}
	length /= time.Duration(len(topologies))
	for _, topology := range topologies {
		t.Run(topology.name, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d, %v", seed, length)
			s := newSoak(t, topology.kinds, seed)
			s.play(length / 2)
			s.wipe()
			s.play(length / 2)
			parked := s.rest()
			s.count("")
			s.compare(parked)
		})
	}
}

// play has clients do things, and trouble come, for so long.
func (s *soak) play(length time.Duration) {
	s.Helper()
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for c := range 9 {
		clients.Go(func() { s.client(c, stop) })
	}
	s.trouble(length)
	close(stop)
	clients.Wait()
}

type soak struct {
	*divergence
	seed   uint64
	random *rand.Rand
	h      history
	http   *http.Client

	puts, gets, deletes, bulks, cuts atomic.Int64 // tried
	given, absent, stale             atomic.Int64 // of the gets
	refused, unheard                 atomic.Int64 // the same: by the proxy, and without an answer
	freezes, kills, ends, both       int
	wipes                            int
	others                           atomic.Int64 // what soak_more_test.go has
	sources                          sources
	versioned                        *versioned        // nil: not both stores have versions
	noted                            map[string]string // by key; what the journal knew before repair
}

func newSoak(t *testing.T, kinds [2]string, seed uint64) *soak {
	t.Helper()
	s := &soak{
		divergence: newDivergence(t, kinds, "ConnectionTimeout: 3s\nStallTimeout: 500ms\nFailureLimit: 5\n"),
		seed:       seed, random: rand.New(rand.NewPCG(seed, 0)),
		h:    history{byKey: make(map[string][]*deed)},
		http: &http.Client{Transport: newTransport(nil), Timeout: 15 * time.Second},

		noted:   map[string]string{},
		sources: sources{current: map[string]int64{}, busy: map[string]bool{}},
	}
	s.lockedBucket()
	return s
}

// client does things at random until stop.
func (s *soak) client(number int, stop <-chan struct{}) {
	random := rand.New(rand.NewPCG(s.seed, uint64(number+1)))
	for {
		select {
		case <-stop:
			return
		default:
		}
		key := fmt.Sprintf("soak/%d", random.IntN(soakKeys))
		var ok bool
		switch n := random.IntN(100); {
		case n < 30:
			ok = s.get(key)
		case n < 50:
			ok = s.send(key, random)
		case n < 56:
			ok = s.remove(key)
		case n < 60:
			ok = s.removeMany(random)
		case n < 85:
			ok = s.other(number, key, random)
		default:
			ok = s.cutOff(key, random)
		}
		if !ok { // the proxy is dead: this fills the history with nothing
			time.Sleep(10 * time.Millisecond)
		}
	}
}

var soakSizes = []int{10, 500, 3000, 30_000, 100_000, 300_000, 2_000_000}

func soakSize(random *rand.Rand) int {
	size := soakSizes[min(random.IntN(len(soakSizes)+4), random.IntN(len(soakSizes)))]
	return size + random.IntN(size)
}

var soakStyles = []string{byHeader, byPresigned, byTrailer, byChunks}

// do sends a request and reads its answer, which was that if ok.
func (s *soak) do(method, style, key string, data []byte) (status int, body []byte, err error) {
	req, _, err := newSigned(method, style, s.plain.addr, s.bucket, key, "", data)
	if err != nil {
		s.Errorf("cannot sign: %v", err)
		return 0, nil, err
	}
	answer, err := s.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(answer.Body)
	return answer.StatusCode, body, err
}

func (s *soak) send(key string, random *rand.Rand) bool {
	s.puts.Add(1)
	d, tags := s.h.begin(key, true, false), s.h.begin(tagsOf(key), false, false)
	status, _, err := s.do(http.MethodPut, soakStyles[random.IntN(len(soakStyles))], key, value(key, d.id, soakSize(random)))
	s.h.ended(d, status == 200)
	s.h.ended(tags, status == 200)
	return err == nil
}

func (s *soak) remove(key string) bool {
	s.deletes.Add(1)
	d := s.h.begin(key, false, false)
	status, _, err := s.do(http.MethodDelete, byHeader, key, nil)
	s.h.ended(d, status/100 == 2)
	return err == nil
}

func (s *soak) removeMany(random *rand.Rand) bool {
	s.bulks.Add(1)
	deeds := make(map[string]*deed)
	var list []types.ObjectIdentifier
	for _, n := range random.Perm(soakKeys)[:1+random.IntN(5)] {
		key := fmt.Sprintf("soak/%d", n)
		deeds[key] = s.h.begin(key, false, false)
		list = append(list, types.ObjectIdentifier{Key: &key})
	}
	out, err := newSDK(s.plain.url, s.http.Transport).DeleteObjects(s.Context(), &s3.DeleteObjectsInput{Bucket: &s.bucket, Delete: &types.Delete{Objects: list}})
	told := make(map[string]bool)
	if err == nil {
		for _, o := range out.Deleted {
			told[*o.Key] = true
		}
	}
	for key, d := range deeds {
		s.h.ended(d, told[key])
	}
	return err == nil
}

func (s *soak) cutOff(key string, random *rand.Rand) bool {
	s.cuts.Add(1)
	d := s.h.begin(key, true, true)
	defer s.h.ended(d, false)
	data := value(key, d.id, soakSize(random))
	u, err := newUpload(s.plain.addr, soakStyles[random.IntN(len(soakStyles))], s.bucket, key, "", data)
	if err != nil {
		s.Errorf("cannot sign: %v", err)
		return false
	}
	conn, err := u.begin(random.IntN(len(u.body) - chunkedEnd))
	if err != nil {
		return false
	}
	time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond) // as the client pleases
	if random.IntN(2) == 0 {
		cutReset(conn)
		return true
	}
	status, err := cutFIN(conn)
	if status/100 == 2 {
		s.Errorf("%q: an upload that ended in its middle is answered %d", key, status)
	}
	return err == nil
}

func (s *soak) get(key string) bool {
	s.gets.Add(1)
	begin := s.h.tick()
	status, body, err := s.do(http.MethodGet, byHeader, key, nil)
	var id int64
	switch {
	case err != nil: // the proxy is dead, for the most part
		s.unheard.Add(1)
		return false
	case status != 200 && status != 404:
		s.refused.Add(1) // and the client knows
		return true
	case status == 404:
		s.absent.Add(1)
	default:
		s.given.Add(1)
		id, err = parseValue(key, body)
		if err != nil || !s.h.known(key, id) {
			s.Errorf("GET %q is answered 200 with %d bytes that nobody put there: %v", key, len(body), err)
			return true
		}
	}
	if !s.h.allows(key, id, begin) {
		s.stale.Add(1)
		s.Errorf("GET %q, begun at %d, gives %d, which is behind an acknowledged write (R30), of:\n%s", key, begin, id, s.told(key))
	}
	return true
}

// trouble is made one after another, so that one backend is always well.
func (s *soak) trouble(length time.Duration) {
	s.Helper()
	deadline := time.Now().Add(length)
	told := time.Now()
	pause := func(most time.Duration) { time.Sleep(time.Duration(s.random.Int64N(int64(most)))) } // the clients do something meanwhile
	for time.Now().Before(deadline) && !s.Failed() {
		pause(time.Second)
		victim := s.stores[s.random.IntN(2)]
		switch s.random.IntN(6) {
		case 0, 1:
			s.freezes++
			victim.process.freeze(s.T)
			pause(2500 * time.Millisecond)
			victim.process.thaw()
		case 2:
			s.kills++
			victim.process.kill()
			pause(1500 * time.Millisecond)
			victim.run(s.T)
		case 3, 4:
			s.ends++
			s.endProxy()
			s.runProxy()
		case 5:
			// What the proxy has sent to a frozen backend may be done when that is
			// back; nobody can tell from a new write what is done still later.
			s.both++
			victim.process.freeze(s.T)
			pause(time.Second)
			s.endProxy()
			victim.process.thaw()
			victim.awaitQuiet(s.T)
			s.runProxy()
		}
		if time.Since(told) > time.Minute {
			told = time.Now()
			s.count("so far ")
		}
	}
}

func (s *soak) endProxy() {
	s.Helper()
	s.plain.process.kill()
	if said := s.plain.process.output.String(); strings.Contains(said, "panic") {
		s.Errorf("the proxy said:\n%s", said)
	}
}

func (s *soak) runProxy() {
	s.Helper()
	s.plain.run(s.T)
	s.plain.await(s.T, "it is ready", func(s status) bool { return s.Ready })
}

func (s *soak) count(when string) {
	s.Helper()
	s.h.mu.Lock()
	acked := s.h.acked
	s.h.mu.Unlock()
	s.Logf(`%sthere were
%7d PUTs, %d DELETEs, %d multi-object deletes, %d other writes; %d writes were acknowledged
%7d uploads cut off
%7d GETs: %d gave an object, %d gave 404, %d were refused, %d had no answer; %d were behind an acknowledged write
%7d times a backend was frozen, %d times one was killed, %d times the proxy was; %d times a frozen backend and the proxy, %d times one was wiped`, when,
		s.puts.Load(), s.deletes.Load(), s.bulks.Load(), s.others.Load(), acked, s.cuts.Load(),
		s.gets.Load(), s.given.Load(), s.absent.Load(), s.refused.Load(), s.unheard.Load(), s.stale.Load(), s.freezes, s.kills, s.ends, s.both, s.wipes)
}

// rest lets all come to rest, repairs, and gives what is parked.
func (s *soak) rest() (parked map[string]string) {
	s.Helper()
	s.plain.await(s.T, "both backends are in the pool", status.active)
	s.settle(s.T)
	for _, store := range s.stores {
		store.awaitQuiet(s.T)
	}
	return s.untilParked()
}

// compare looks at each backend itself.
func (s *soak) compare(parked map[string]string) {
	s.Helper()
	now, wrong, there := s.h.tick(), 0, 0
	for _, key := range slices.Sorted(maps.Keys(s.h.byKey)) {
		if !strings.HasPrefix(key, "soak/") || strings.ContainsAny(key, "? ") || parked[s.bucket+"/"+key] != "" {
			continue
		}
		var ids [2]int64
		for i, store := range s.stores {
			data, err := store.get(s.T, s.bucket, key)
			switch {
			case errors.Is(err, errAbsent):
				continue
			case err == nil:
				ids[i], err = parseValue(key, data)
			}
			if err != nil || !s.h.known(key, ids[i]) {
				wrong++
				s.Errorf("%v: %q is what nobody put there: %v", store, key, err)
			}
		}
		if ids[0] != 0 && ids[0] == ids[1] {
			there++
			if a, b := s.compareTags(s.stores[0], key), s.compareTags(s.stores[1], key); a != b {
				wrong++
				s.Errorf("%q has the tags %d and %d, of:\n%s%s", key, a, b, s.told(tagsOf(key)), s.recorded(key))
			}
		}
		if ids[0] != ids[1] || !s.h.allows(key, ids[0], now) {
			wrong++
			s.Errorf("%q has the values %v, of:\n%s%s", key, ids, s.told(key), s.recorded(key))
		}
	}
	if s.versioned != nil {
		s.compareVersions(parked)
	}
	s.Logf("%d keys, %d of them with an object, %d parked, %d wrong", len(s.h.byKey), there, len(parked), wrong)
}

// told are the last writes of a key.
func (s *soak) told(key string) string {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	var b strings.Builder
	all := s.h.byKey[key]
	for _, d := range all[max(0, len(all)-30):] {
		fmt.Fprintf(&b, "%+v\n", *d)
	}
	return b.String()
}

var errAbsent = errors.New("there is no such object")

// get reads an object to its end.
func (s *store) get(t *testing.T, bucket, key string) ([]byte, error) {
	t.Helper()
	out, err := s.direct.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if errorCode(err) == "NoSuchKey" {
		return nil, errAbsent
	}
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(out.Body)
	return b.Bytes(), err
}
