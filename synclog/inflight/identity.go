package inflight

import (
	"fmt"
	"os"

	"github.com/akubra/akubra/internal/datadir"
)

func openFile(path string) (*os.File, error) {
	f, err := datadir.OpenFile(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := datadir.NotLinked(f); err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}

// Identity identifies the table's file, so that others can check that it still has its name; it is
// the zero Identity once the table is closed. An error means that slots are no longer in the file,
// because it was truncated.
func (t *Table) Identity() (datadir.Identity, error) {
	t.growing.Lock() // so that the file stays as long as it is; not mu, which writes end under
	defer t.growing.Unlock()
	if t.file == nil {
		return datadir.Identity{}, nil
	}
	info, err := t.file.Stat()
	if err != nil {
		return datadir.Identity{}, err
	}
	if size := int64(len(*t.chunks.Load())) * chunkSlots * slotSize; info.Size() < size {
		return datadir.Identity{}, fmt.Errorf("it was cut to %d bytes, of %d", info.Size(), size)
	}
	return datadir.IdentityOf(info), nil
}
