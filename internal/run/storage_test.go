package run

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parachute-proxy/parachute/internal/api"
)

func TestStorageThatIsAFileGetsAHint(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, storage := range []string{file, filepath.Join(file, "below")} {
		o := options{storage: storage}
		_, err := o.lockStorage()
		failed, _ := errors.AsType[*api.Error](err)
		if failed == nil || failed.Message != "the storage directory cannot be "+storage+": "+file+" is not a directory" ||
			!strings.Contains(failed.Hint, "give a directory with --storage") {
			t.Errorf("%s: %+v", storage, failed)
		}
	}
}
