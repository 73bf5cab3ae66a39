package forward

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestPathIsCleanedAsClientsResolveIt(t *testing.T) {
	for _, tt := range []struct{ path, want string }{
		{"/", "/"},
		{"/x", "/x"},
		{"/x/", "/x/"},
		{"/x/../up", "/up"},
		{"/x/%2e%2E/up", "/up"},
		{"/x/.%2e/up", "/up"},
		{"/x/%2e/up", "/x/up"},
		{"/x/./up", "/x/up"},
		{"/x/..", "/"},
		{"/x/y/..", "/x/"},
		{"/x/.", "/x/"},
		{"/..", "/"},
		{"/../../x", "/x"},
		{"//x//up//", "/x/up/"},
		{"//", "/"},
		{"/x//../up", "/up"},
		{"/x/...", "/x/..."},
		{"/x/.hidden/..y", "/x/.hidden/..y"},
		{"/x/%2F../up", "/x/%2F../up"},
		{"/x/..%2fup", "/x/..%2fup"},
		{"/x/%252e%252e/up", "/x/%252e%252e/up"},
		{"/x/..;/up", "/x/..;/up"},
		{"/%7Ex/../%e2%98%83", "/%e2%98%83"},
		{"*", "*"},
		{"", ""},
	} {
		if got := CleanPath(tt.path); got != tt.want {
			t.Errorf("%s is cleaned to %s, want %s", tt.path, got, tt.want)
		}
		if decoded, err := url.PathUnescape(tt.path); err == nil && IsClean(decoded) && tt.path != tt.want {
			t.Errorf("%s counts as clean, and is not", tt.path)
		}
	}
}

func FuzzCleanPath(f *testing.F) {
	for _, seed := range []string{"/x/../up", "//x", "/%2e./x//", "/a/b/.", "/%2E%2e%2f/.."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if !strings.HasPrefix(raw, "/") {
			return
		}
		got := CleanPath(raw)
		if again := CleanPath(got); again != got {
			t.Errorf("%q is cleaned to %q, and that to %q", raw, got, again)
		}
		if !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") {
			t.Errorf("%q is cleaned to %q", raw, got)
		}
		decoded, err := url.PathUnescape(raw)
		if err != nil {
			return
		}
		if IsClean(decoded) && got != raw {
			t.Errorf("%q counts as clean, and is cleaned to %q", raw, got)
		}
		if strings.Contains(strings.ToLower(raw), "%2f") {
			return // which is a border to path.Clean, once it is decoded
		}
		if want := path.Clean(decoded); unescaped(t, strings.TrimSuffix(got, "/")) != strings.TrimSuffix(want, "/") {
			t.Errorf("%q is cleaned to %q, want %q", raw, got, want)
		}
	})
}

func unescaped(t *testing.T, path string) string {
	decoded, err := url.PathUnescape(path)
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

// BenchmarkIsClean is what every request pays.
func BenchmarkIsClean(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if !IsClean("/api/v1/users/12345/orders") {
			b.Fatal("a clean path does not count as clean")
		}
	}
}
