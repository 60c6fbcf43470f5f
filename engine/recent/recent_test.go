package recent

import (
	"fmt"
	"sync"
	"testing"

	"github.com/akubra/akubra/internal/testkit"
)

func TestR26UploadsAreBounded(t *testing.T) {
	u := New[string, int](100)
	for i := range 10_000 {
		u.Put(fmt.Sprint(i), i%64)
		u.Get(fmt.Sprint(i / 2))
		u.Get("kept")
		if i == 0 {
			u.Put("kept", 7)
		}
		if n := len(u.young) + len(u.old); n > 100 {
			t.Fatalf("%d uploads remembered, want 100 at most", n)
		}
	}
	if b, ok := u.Get("9999"); !ok || b != 9999%64 {
		t.Errorf("the last upload is at %d, %v", b, ok)
	}
	if _, ok := u.Get("1"); ok {
		t.Error("an upload of long ago is still there")
	}
	if b, ok := u.Get("kept"); !ok || b != 7 {
		t.Errorf("an upload in constant use was forgotten: %d, %v", b, ok)
	}
	u.Put("kept", 8) // it was moved, who knows how
	if b, _ := u.Get("kept"); b != 8 {
		t.Errorf("an upload is at %d, want 8", b)
	}
}

// At least the last half of the bound is remembered.
func TestR26UploadsRememberTheRecentOnes(t *testing.T) {
	u := New[string, int](100)
	for i := range 1000 {
		u.Put(fmt.Sprint(i), i%64)
		for j := max(0, i-49); j <= i; j++ {
			_, young := u.young[fmt.Sprint(j)]
			_, old := u.old[fmt.Sprint(j)]
			if !young && !old {
				t.Fatalf("upload %d is forgotten after %d", j, i)
			}
		}
	}
}

func TestR26UploadsFromManyGoroutines(t *testing.T) {
	u := New[string, int](64)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				id := fmt.Sprint(i % 200)
				u.Put(id, i%200%64)
				if b, ok := u.Get(fmt.Sprint((i + g) % 200)); ok && b != (i+g)%200%64 {
					t.Errorf("upload %d is at %d", (i+g)%200, b)
				}
			}
		})
	}
	testkit.Finish(t, "all goroutines end", wg.Wait)
}
