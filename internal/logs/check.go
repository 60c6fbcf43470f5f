package logs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/akubra/akubra/internal/config"
)

// Check reports what Open would report and leaves nothing behind (R21): a file that did not exist
// is removed again. The error has a line for each mistake.
func Check(c config.LoggingConfig) error {
	return named(checkOutput(c.Mainlog), checkOutput(c.Accesslog), checkOutput(c.Synclog))
}

func checkOutput(c config.LogOutput) error {
	isNew := false
	if c.File != "" {
		info, err := os.Stat(c.File)
		isNew = errors.Is(err, fs.ErrNotExist)
		if err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
			c.File = "" // opening and closing it would end its reader
		}
	}
	o, err := OpenOutput(c)
	if isNew && o.file != nil {
		if made, linked := filepath.EvalSymlinks(c.File); linked == nil {
			_ = os.Remove(made) // or an empty file would stay
		}
	}
	o.Start(nil, nil)
	_ = o.Close() // nothing was written
	return err
}
