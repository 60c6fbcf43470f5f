package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// One voice (R29): of several clients that create the same object one is told that it did,
// a compare-and-swap loses no increment, and the stores agree afterwards; through outages of a
// store, and of the proxy, too.

// newVoice is a world with one proxy that repairs, and a bucket.
func newVoice(t *testing.T, more string) (w *world, bucket string) {
	t.Helper()
	w = newStores(t, [2]string{minio, versitygw})
	bucket = "voice"
	for _, s := range w.stores {
		if _, err := s.direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
			t.Fatal(err)
		}
	}
	w.plain = w.newProxy(t, "voice", "", fmt.Sprintf("Repair: {Enabled: true}\nCredentials: {AccessKey: %s, SecretKey: %s, Region: %s}\n%s", accessKey, secretKey, region, more))
	w.plain.await(t, "it is ready", func(s status) bool { return s.Ready })
	return w, bucket
}

// equal waits until nothing is owed any more, and gives what both stores have at key.
func (w *world) equal(t *testing.T, bucket, key string) string {
	t.Helper()
	var all [2]string
	for i, s := range w.stores {
		all[i] = "none"
		if body, _, err := get(t.Context(), s.direct, bucket, key); err == nil {
			all[i] = body
		} else if code(err) != http.StatusNotFound {
			t.Fatalf("%s at %s: %v", key, s, err)
		}
	}
	if all[0] != all[1] {
		t.Errorf("%s: %s has %q, and %s %q", key, w.stores[0], all[0], w.stores[1], all[1])
	}
	return all[0]
}

func (w *world) repaired(t *testing.T) {
	t.Helper()
	w.plain.awaitFor(t, 3*time.Minute, "nothing is owed", func(s status) bool {
		return s.active() && s.InFlight == 0 && s.Journal.Pending-s.Journal.Parked == 0 && s.Journal.Open == 0
	})
}

func get(ctx context.Context, c *s3.Client, bucket, key string) (body, etag string, err error) {
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return "", "", err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	return string(b), aws.ToString(out.ETag), err
}

// code is an answer's status, or 0 if there was no answer.
func code(err error) int {
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		return answer.HTTPStatusCode()
	}
	return 0
}

// put writes under a condition. told: 200 or a refusal, rather than something that says
// nothing about the object.
func put(ctx context.Context, c *s3.Client, bucket, key, body, match string) (won, told bool) {
	in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader([]byte(body))}
	if match == "" {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = &match
	}
	_, err := c.PutObject(ctx, in)
	switch code(err) {
	case http.StatusPreconditionFailed, http.StatusConflict:
		return false, true
	}
	return err == nil, err == nil
}

func scale(few, many int) int {
	if os.Getenv("INTEROP_FULL") == "1" {
		return many
	}
	return few
}

// sizes: one that the proxy hands on as a whole, and one that is under way for a while.
func bodyOf(client, key int) string {
	body := fmt.Sprintf("client %d ", client)
	if key%8 == 0 {
		body += string(bytes.Repeat([]byte{'x'}, 600<<10))
	}
	return body
}

// raceToCreate has clients create each key at the same time. disturb runs meanwhile.
func raceToCreate(t *testing.T, w *world, bucket string, keys int, disturb func()) {
	const clients = 4
	won := make([]atomic.Int32, keys) // client + 1
	var unsure atomic.Int32
	var all sync.WaitGroup
	busy := make(chan struct{}, 8)
	for k := range keys {
		busy <- struct{}{}
		var race sync.WaitGroup
		for c := range clients {
			race.Go(func() {
				client := newSDK(w.plain.url, nil)
				for range 200 {
					yes, told := put(t.Context(), client, bucket, fmt.Sprint("k", k), bodyOf(c, k), "")
					if yes && !won[k].CompareAndSwap(0, int32(c+1)) {
						t.Errorf("k%d: clients %d and %d are told that they have created it", k, won[k].Load()-1, c)
					}
					if told {
						return
					}
					unsure.Add(1)
					time.Sleep(time.Duration(50+rand.IntN(100)) * time.Millisecond) // as a client would
				}
				t.Errorf("k%d: client %d was never told", k, c)
			})
		}
		all.Go(func() { race.Wait(); <-busy })
		if disturb != nil && k%(keys/3) == keys/6 {
			disturb()
		}
	}
	all.Wait()
	w.repaired(t)
	for k := range keys {
		got := w.equal(t, bucket, fmt.Sprint("k", k))
		if winner := int(won[k].Load()) - 1; winner >= 0 && got != bodyOf(winner, k) || got == "none" {
			t.Errorf("k%d: client %d has won, and the stores have %.20q", k, winner, got)
		} else if winner < 0 && disturb == nil {
			t.Errorf("k%d: nobody has won", k)
		}
	}
	t.Logf("%d answers said nothing", unsure.Load())
}

func TestConditionalCreate(t *testing.T) {
	for _, ack := range []string{"first", "all"} {
		t.Run(ack, func(t *testing.T) {
			w, bucket := newVoice(t, "WriteAck: "+ack+"\nProbeBucket: voice\n")
			raceToCreate(t, w, bucket, scale(60, 1000), nil)
		})
	}
}

// A store is killed and comes back.
func TestConditionalCreateThroughOutages(t *testing.T) {
	w, bucket := newVoice(t, "FailureLimit: 3\n")
	n := 0
	raceToCreate(t, w, bucket, scale(60, 1000), func() {
		s := w.stores[n%2]
		n++
		s.process.kill()
		time.Sleep(300 * time.Millisecond) // of an outage
		s.run(t)
	})
}

// The proxy is killed and comes back.
func TestConditionalCreateThroughKills(t *testing.T) {
	w, bucket := newVoice(t, "")
	raceToCreate(t, w, bucket, scale(60, 1000), func() {
		w.plain.process.kill()
		w.plain.run(t)
	})
}

// A counter that several clients increase ends at the number of increments that they were
// told of; through faults, at no less, and at no more than were tried.
func TestCompareAndSwap(t *testing.T) {
	for name, fault := range map[string]func(t *testing.T, w *world){
		"quiet": nil,
		"store": func(t *testing.T, w *world) {
			s := w.stores[rand.IntN(2)]
			s.process.kill()
			s.run(t)
		},
		"proxy": func(t *testing.T, w *world) {
			w.plain.process.kill()
			w.plain.run(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, bucket := newVoice(t, "FailureLimit: 3\n")
			const key = "counter"
			if won, _ := put(t.Context(), newSDK(w.plain.url, nil), bucket, key, "0", ""); !won {
				t.Fatal("cannot create the counter")
			}
			var acked, unsure atomic.Int64
			var all sync.WaitGroup
			want := int64(scale(60, 1000))
			for range 4 {
				all.Go(func() {
					client := newSDK(w.plain.url, nil)
					for end := time.Now().Add(5 * time.Minute); acked.Load() < want; {
						if time.Now().After(end) {
							t.Error("it takes too long")
							return
						}
						body, etag, err := get(t.Context(), client, bucket, key)
						if err != nil {
							time.Sleep(20 * time.Millisecond) // as a client would
							continue
						}
						n, err := strconv.ParseInt(body, 10, 64)
						if err != nil {
							t.Errorf("the counter is %q", body)
							return
						}
						switch won, told := put(t.Context(), client, bucket, key, fmt.Sprint(n+1), etag); {
						case won:
							acked.Add(1)
						case !told:
							unsure.Add(1)
							time.Sleep(20 * time.Millisecond) // as a client would
						}
					}
				})
			}
			if fault != nil {
				for i := range int64(3) {
					for acked.Load() < want*(i+1)/4 && !t.Failed() {
						time.Sleep(5 * time.Millisecond) // polling: a failure is to end this as well
					}
					fault(t, w)
				}
			}
			all.Wait()
			w.repaired(t)
			got, err := strconv.ParseInt(w.equal(t, bucket, key), 10, 64)
			if err != nil || got < acked.Load() || got > acked.Load()+unsure.Load() || fault == nil && got != acked.Load() {
				t.Errorf("the counter is at %d, %v; %d increments were acknowledged, %d may have been made", got, err, acked.Load(), unsure.Load())
			}
			t.Logf("%d acknowledged, %d unknown, counter %d", acked.Load(), unsure.Load(), got)
		})
	}
}
