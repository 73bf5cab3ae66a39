package kamal

import (
	"cmp"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/parachute-proxy/parachute/internal/api"
)

// File is a value for Caddy's storage.
type File struct {
	Key   string
	Value []byte
}

// cache is the directory of certificates that kamal-proxy got from one authority. It is that of
// golang.org/x/crypto/acme/autocert.
type cache struct {
	dir string
	// directory is the URL of the ACME directory of the authority.
	directory string
}

// Names of files in a cache that are no certificates.
const (
	accountFile = "acme_account+key"
	tokenSuffix = "+http-01"
	rsaSuffix   = "+rsa"
)

// maxCached bounds a file of a cache, in bytes.
const maxCached = 1 << 20

// caches returns the caches that exist of the services that kamal-proxy has had, and the folders
// beside them of which it is not known what they are for.
func caches(elements []element, defaultDir string) (all []cache, unknown []string) {
	dirs, directories := []string{defaultDir}, map[string]string{
		cacheName(""): certmagic.LetsEncryptProductionCA,
		cacheName(certmagic.LetsEncryptStagingCA): certmagic.LetsEncryptStagingCA,
	}
	for _, e := range elements {
		if e.saved == nil {
			continue
		}
		o := e.saved.Options
		if o.ACMECachePath != "" && !slices.Contains(dirs, o.ACMECachePath) {
			dirs = append(dirs, o.ACMECachePath)
		}
		if o.ACMEDirectory != "" {
			directories[cacheName(o.ACMEDirectory)] = o.ACMEDirectory
		}
	}
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir)
		for _, entry := range entries {
			where := filepath.Join(dir, entry.Name())
			switch directory, known := directories[entry.Name()]; {
			case !entry.IsDir():
			case known:
				all = append(all, cache{where, directory})
			default:
				unknown = append(unknown, where)
			}
		}
	}
	return all, unknown
}

// cacheName is the name that kamal-proxy has for the cache of an authority.
func cacheName(directory string) string {
	sum := sha256.Sum256([]byte(directory))
	return hex.EncodeToString(sum[:])
}

// found is a certificate that can be taken over, or why it cannot.
type found struct {
	host     string
	notAfter time.Time
	files    []File
	err      error
}

// certificates returns what is in the cache: a certificate for each host, and the account.
func (c cache) certificates(now time.Time) (all []found, account []File) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return []found{{host: c.dir, err: err}}, nil
	}
	issuer := (&certmagic.ACMEIssuer{CA: c.directory}).IssuerKey()
	names := make(map[string]bool)
	for _, entry := range entries {
		names[entry.Name()] = true
	}
	for _, entry := range entries {
		name := entry.Name()
		host := strings.TrimSuffix(name, rsaSuffix)
		switch {
		case !entry.Type().IsRegular() || strings.HasSuffix(name, tokenSuffix):
		case name == accountFile:
			key, err := readCached(filepath.Join(c.dir, name))
			if err == nil {
				account, err = accountFiles(issuer, key)
			}
			if err != nil {
				all = append(all, found{host: "the account", err: err})
			}
		case host != name && names[host]: // there is a smaller one of the same host
		default:
			all = append(all, readCertificate(filepath.Join(c.dir, name), host, issuer, now))
		}
	}
	return all, account
}

func readCached(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > maxCached {
		err = fmt.Errorf("it has more than %d bytes", maxCached)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(name)
}

// readCertificate reads a file with the key and the certificate of a host.
func readCertificate(name, host, issuer string, now time.Time) found {
	f := found{host: host}
	b, err := readCached(name)
	if err == nil {
		err = f.decode(b, issuer, now)
	}
	f.err = err
	return f
}

func (f *found) decode(b []byte, issuer string, now time.Time) error {
	if normal, err := api.NormalizeHost(f.host); err != nil || normal != f.host {
		return errors.New("its file is not named after a host")
	}
	var key, chain []byte
	for len(b) > 0 {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if strings.Contains(block.Type, "PRIVATE KEY") {
			key = pem.EncodeToMemory(block)
		} else if block.Type == "CERTIFICATE" {
			chain = append(chain, pem.EncodeToMemory(block)...)
		}
	}
	pair, err := tls.X509KeyPair(chain, key)
	switch {
	case err != nil:
		return err
	case now.After(pair.Leaf.NotAfter):
		return fmt.Errorf("it has expired on %s", pair.Leaf.NotAfter.UTC().Format(time.DateOnly))
	}
	if err := pair.Leaf.VerifyHostname(f.host); err != nil {
		return err
	}
	f.notAfter = pair.Leaf.NotAfter
	meta, err := json.MarshalIndent(certmagic.CertificateResource{SANs: pair.Leaf.DNSNames}, "", "\t")
	f.files = []File{
		{certmagic.StorageKeys.SitePrivateKey(issuer, f.host), key},
		{certmagic.StorageKeys.SiteCert(issuer, f.host), chain},
		{certmagic.StorageKeys.SiteMeta(issuer, f.host), meta},
	}
	return err
}

// accountFiles returns the files of an ACME account that has a key and no address. It has no status,
// so the first order asks the authority for the account of that key.
func accountFiles(issuer string, key []byte) ([]File, error) {
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, errors.New("its key is not PEM")
	}
	if _, err := certmagic.PEMDecodePrivateKey(key); err != nil {
		return nil, err
	}
	folder := path.Join("acme", certmagic.StorageKeys.Safe(issuer), "users", "default")
	return []File{
		{path.Join(folder, "default.json"), []byte("{\n\t\"status\": \"\"\n}")},
		{path.Join(folder, "default.key"), key},
	}, nil
}

// newest returns certificates with one for each host and authority: the one that is valid for
// longest. Those that cannot be taken over are kept, to be told.
func newest(all []found) []found {
	slices.SortStableFunc(all, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.host, b.host), b.notAfter.Compare(a.notAfter))
	})
	return slices.CompactFunc(all, func(a, b found) bool {
		return len(a.files) > 0 && len(b.files) > 0 && a.files[0].Key == b.files[0].Key
	})
}
