package proxy

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/parachute-proxy/parachute/internal/api"
)

// The settings that name the files.
const (
	certificatePath = api.Field("tls.certificate_path")
	privateKeyPath  = api.Field("tls.private_key_path")
)

// keyPair is a certificate of the service's own, from files that somebody else
// renews.
type keyPair struct {
	certificatePath, privateKeyPath string
	hosts                           []string
	current                         atomic.Pointer[loadedPair]
	// lookedAt is when the files were last looked at, as a Unix time in nanoseconds,
	// and looking says that somebody is doing so.
	lookedAt atomic.Int64
	looking  atomic.Bool
}

// loadedPair is what the files had in them.
type loadedPair struct {
	certificate tls.Certificate
	pem         pemPair
	// modified are the times at which the files were last changed.
	modified [2]time.Time
	// problem says why the files are not used as they are now; nil if they are.
	problem error
}

// pemPair is what is stored of a key pair with its release, so that a file that is
// missing at the next start costs nothing. It is the pair as of the deploy: files that
// are renewed later are read, and not stored.
type pemPair struct {
	Certificate string `json:"certificate"`
	PrivateKey  string `json:"private_key"`
}

// keyPairInterval is how long renewed files may go unnoticed.
const keyPairInterval = 5 * time.Second

// maxPEM bounds the size of a certificate or key file, in bytes.
const maxPEM = 1 << 20

// newKeyPair returns the pair that o names, for a service with the given hosts. It
// reads nothing.
func newKeyPair(o *api.TLSOptions, hosts []string) *keyPair {
	return &keyPair{certificatePath: o.CertificatePath, privateKeyPath: o.PrivateKeyPath, hosts: hosts}
}

// keyPairOf returns the pair of a service; nil if its certificates come from elsewhere.
func keyPairOf(s *api.Spec) *keyPair {
	if t := s.Options.TLS; t != nil && t.OwnFiles() {
		return newKeyPair(t, s.Hosts)
	}
	return nil
}

// read reads the files and checks that they are of use now.
func (k *keyPair) read(now time.Time) error {
	loaded, err := k.readFiles()
	if err != nil {
		return err
	}
	if err := checkLeaf(loaded.certificate.Leaf, k.hosts, now); err != nil {
		return fmt.Errorf("%s: %w", k.certificatePath, err)
	}
	k.lookedAt.Store(now.UnixNano())
	k.current.Store(loaded)
	return nil
}

// restore takes what is in the files, or else what was stored of them. A problem is
// for the log; without any certificate it is an error.
func (k *keyPair) restore(stored *pemPair, now time.Time) (problem, err error) {
	if problem = k.read(now); problem == nil {
		return nil, nil
	}
	if stored == nil {
		return nil, problem
	}
	certificate, err := parsePair([]byte(stored.Certificate), []byte(stored.PrivateKey))
	if err != nil {
		return nil, problem
	}
	k.current.Store(&loadedPair{certificate: certificate, pem: *stored, problem: problem})
	return problem, nil
}

func (k *keyPair) readFiles() (*loadedPair, error) {
	var pems [2][]byte
	loaded := new(loadedPair)
	for i, path := range []string{k.certificatePath, k.privateKeyPath} {
		var err error
		if pems[i], loaded.modified[i], err = readPEM(path); err != nil {
			return nil, err
		}
	}
	var err error
	if loaded.certificate, err = parsePair(pems[0], pems[1]); err != nil {
		return nil, &uselessCertificate{
			fmt.Sprintf("%s and %s: %v", k.certificatePath, k.privateKeyPath, err),
			api.Advise("%s is a PEM file with the certificate and its chain, %s is one with the private key of that certificate", certificatePath, privateKeyPath),
		}
	}
	loaded.pem = pemPair{Certificate: string(pems[0]), PrivateKey: string(pems[1])}
	return loaded, nil
}

// readPEM returns what is in a file, and when it was last changed.
func readPEM(path string) (content []byte, modified time.Time, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, time.Time{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxPEM {
		return nil, time.Time{}, fmt.Errorf("%s is not a file of at most %d bytes", path, maxPEM)
	}
	content, err = os.ReadFile(path)
	return content, info.ModTime(), err
}

func parsePair(certificate, key []byte) (tls.Certificate, error) {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return pair, errors.New(strings.TrimPrefix(err.Error(), "tls: "))
	}
	return pair, nil
}

// uselessCertificate is an error of files that can be read and are of no use all the same.
type uselessCertificate struct {
	problem string
	// hint says what to do about it.
	hint api.Advice
}

func (c *uselessCertificate) Error() string { return c.problem }

// keyPairHint says what to do about an error of [keyPair.read].
func keyPairHint(err error) api.Advice {
	if useless, ok := errors.AsType[*uselessCertificate](err); ok {
		return useless.hint
	}
	return api.Advise("%s and %s must be PEM files on the proxy's machine that the user of the proxy can read", certificatePath, privateKeyPath)
}

// checkLeaf reports why a certificate is of no use for hosts.
func checkLeaf(leaf *x509.Certificate, hosts []string, now time.Time) error {
	switch {
	case now.After(leaf.NotAfter):
		return &uselessCertificate{"the certificate has expired on " + leaf.NotAfter.UTC().Format(time.DateOnly), api.Advise("renew it")}
	case now.Before(leaf.NotBefore):
		return &uselessCertificate{
			"the certificate is not valid before " + leaf.NotBefore.UTC().Format(time.DateTime),
			api.Advise("wait until then, or check the clock of the proxy's machine"),
		}
	}
	for _, host := range hosts {
		name := host
		if domain, ok := strings.CutPrefix(host, "*."); ok {
			name = "any." + domain // what is checked is a name, not a pattern
		}
		if err := leaf.VerifyHostname(name); err != nil {
			return &uselessCertificate{
				fmt.Sprintf("the certificate does not cover %s; it covers %s", host, cmp.Or(strings.Join(leaf.DNSNames, ", "), "no name at all")),
				api.Advise("get a certificate that also covers %s, or leave that host out of %s", host, api.Field("hosts")),
			}
		}
	}
	return nil
}

// get returns the certificate, or nil if there never was one that could be used. From
// time to time it looks for a new one, without having anybody wait for the disk.
func (k *keyPair) get(log *zap.Logger) *tls.Certificate {
	k.refresh(log)
	if loaded := k.current.Load(); loaded != nil {
		return &loaded.certificate
	}
	return nil
}

func (k *keyPair) refresh(log *zap.Logger) {
	now := time.Now()
	if now.UnixNano()-k.lookedAt.Load() < int64(keyPairInterval) || !k.looking.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer k.looking.Store(false)
		k.lookedAt.Store(now.UnixNano())
		k.reload(log, now)
	}()
}

// reload takes new files, if they are of use. Otherwise the old certificate stays.
func (k *keyPair) reload(log *zap.Logger, now time.Time) {
	before := k.current.Load()
	if before != nil && k.unchanged(before) {
		return
	}
	err := k.read(now)
	switch {
	case err == nil:
		log.Info("renewed certificate files are in use", zap.String("certificate", k.certificatePath),
			zap.Time("not_after", k.current.Load().certificate.Leaf.NotAfter))
	case before == nil: // which has been said
	case before.problem == nil || before.problem.Error() != err.Error():
		log.Warn("certificate files cannot be used; the previous certificate stays in use",
			zap.String("certificate", k.certificatePath), zap.Error(err))
		failed := *before
		failed.problem = err
		k.current.Store(&failed)
	}
}

// unchanged reports whether the files are those that were read.
func (k *keyPair) unchanged(loaded *loadedPair) bool {
	for i, path := range []string{k.certificatePath, k.privateKeyPath} {
		info, err := os.Stat(path)
		if err != nil || !info.ModTime().Equal(loaded.modified[i]) {
			return false
		}
	}
	return loaded.problem == nil
}

// certificates describes the pair, once for each host.
func (k *keyPair) certificates(log *zap.Logger) []api.Certificate {
	k.refresh(log)
	loaded := k.current.Load()
	if loaded == nil {
		return []api.Certificate{{Host: strings.Join(k.hosts, ","), Error: "the certificate files cannot be read"}}
	}
	leaf := loaded.certificate.Leaf
	hosts := k.hosts
	if len(hosts) == 0 {
		hosts = slices.Compact(slices.Sorted(slices.Values(leaf.DNSNames)))
	}
	var all []api.Certificate
	for _, host := range hosts {
		c := api.DescribeCertificate(host, leaf)
		if loaded.problem != nil {
			c.Error = api.Printable(loaded.problem.Error())
		}
		all = append(all, c)
	}
	return all
}
