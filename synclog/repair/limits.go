package repair

import (
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"
)

func objectLimiter(perSecond float64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), 1)
}

func byteLimiter(perSecond int64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), meterStep)
}

// waitBytes waits until n more bytes, at most meterStep, may be moved to or from each of the
// backends.
func waitBytes(ctx context.Context, n int, of ...*backend) error {
	for _, b := range of {
		if b.bytes == nil {
			continue
		}
		if err := b.bytes.WaitN(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// backoff is how long a task rests after its n-th failure: with full jitter, so that tasks that
// failed together do not come back together.
func backoff(n int, base, most time.Duration) time.Duration {
	ceiling := most
	if n < 30 {
		ceiling = min(base<<max(n-1, 0), most)
	}
	if ceiling <= 0 {
		ceiling = most
	}
	return jitter(ceiling)
}

func jitter(below time.Duration) time.Duration {
	if below <= 0 {
		return 0
	}
	return rand.N(below) //nolint:gosec // no secret
}
