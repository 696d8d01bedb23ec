package kopia

import (
	"fmt"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/drctl/drctl/internal/recovery"
)

// Scheme says how a repository is reached.
type Scheme string

// The ways to reach a repository.
const (
	SchemeFile Scheme = "file"
	SchemeNFS  Scheme = "nfs"
	SchemeS3   Scheme = "s3"
)

// VolSync's movers run as this user and group on the platform, and Kopia writes its files 0600.
const (
	defaultUID = 568
	defaultGID = 568
)

// Location is where a repository is, without any secret. Fields that do not belong to the scheme are
// zero.
type Location struct {
	Scheme Scheme
	// Path is an absolute folder (file), or the export and the folder below it (nfs).
	Path string
	// Host and Port name the NFS server; Port 0 asks its portmapper.
	Host string
	Port int
	// MountPort is the port of the server's MOUNT service; 0 asks its portmapper.
	MountPort int
	// UID and GID are who drctl says it is to the NFS server.
	UID, GID uint32
	// Bucket and Prefix name the folder in S3; Prefix has no slash at either end.
	Bucket, Prefix string
}

const locationForms = "PATH, file:///PATH, nfs://HOST[:PORT]/EXPORT[/PATH][?uid=568&gid=568&mountport=N] or s3://BUCKET/PREFIX"

// ParseLocation reads the value of --repo. Its errors are recovery.ErrUsage, and never repeat what
// might be a password.
func ParseLocation(text string) (Location, error) {
	if text == "" {
		return Location{}, badLocation("", "no repository is named", "")
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return Location{}, badLocation("", "it contains a control character", "")
	}
	scheme, rest, isURL := cutScheme(text)
	if !isURL {
		return parsePath(text, text)
	}
	if authority, _, _ := strings.Cut(rest, "/"); strings.Contains(authority, "@") {
		return Location{}, badLocation(scheme+"://…", "a repository's address holds no user or password",
			"leave out everything up to the @; credentials come from KOPIA_PASSWORD, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the NFS user from ?uid=")
	}
	switch Scheme(scheme) {
	case SchemeFile:
		return parseFile(text, rest)
	case SchemeNFS:
		return parseNFS(text)
	case SchemeS3:
		return parseS3(text, rest)
	}
	return Location{}, badLocation(text, "drctl reads no "+scheme+" repositories", "")
}

// cutScheme splits "scheme://rest". Anything else is a path, also one with "://" after a slash.
func cutScheme(text string) (scheme, rest string, ok bool) {
	match := regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://`).FindStringSubmatch(text)
	if match == nil {
		return "", "", false
	}
	return strings.ToLower(match[1]), text[len(match[0]):], true
}

func parsePath(text, folder string) (Location, error) {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return Location{}, badLocation(text, err.Error(), "")
	}
	return Location{Scheme: SchemeFile, Path: absolute}, nil
}

func parseFile(text, rest string) (Location, error) {
	if !strings.HasPrefix(rest, "/") {
		return Location{}, badLocation(text, "file:// needs an absolute path, with three slashes", "")
	}
	folder, err := url.PathUnescape(rest)
	if err != nil {
		return Location{}, badLocation(text, "its %-escapes are wrong", "")
	}
	if strings.ContainsFunc(folder, unicode.IsControl) {
		return Location{}, badLocation("", "it contains a control character", "")
	}
	return parsePath(text, filepath.FromSlash(folder))
}

func parseNFS(text string) (Location, error) {
	address, err := url.Parse(text)
	if err != nil || address.Fragment != "" || address.Opaque != "" {
		return Location{}, badLocation(text, "it is no address", "")
	}
	l := Location{Scheme: SchemeNFS, Host: address.Hostname(), UID: defaultUID, GID: defaultGID, Path: path.Clean("/" + address.Path)}
	if l.Host == "" || strings.ContainsAny(l.Host, "[]%") {
		return Location{}, badLocation(text, "it names no NFS server", "")
	}
	if l.Path == "/" {
		return Location{}, badLocation(text, "it names no export", "showmount -e "+l.Host+" lists them")
	}
	if strings.ContainsFunc(l.Path, unicode.IsControl) {
		return Location{}, badLocation("", "it contains a control character", "")
	}
	if port := address.Port(); port != "" {
		if l.Port, err = parsePort(port); err != nil {
			return Location{}, badLocation(text, "its port "+err.Error(), "")
		}
	}
	return parseNFSQuery(text, l, address.RawQuery)
}

func parseNFSQuery(text string, l Location, raw string) (Location, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return Location{}, badLocation(text, "what follows the ? can't be read", "")
	}
	for key, values := range query {
		if len(values) != 1 {
			return Location{}, badLocation(text, key+" is given twice", "")
		}
		switch key {
		case "uid":
			l.UID, err = parseID(values[0])
		case "gid":
			l.GID, err = parseID(values[0])
		case "mountport":
			l.MountPort, err = parsePort(values[0])
		default:
			return Location{}, badLocation("", "an nfs:// address takes uid, gid and mountport only", "")
		}
		if err != nil {
			return Location{}, badLocation(text, "its "+key+" "+err.Error(), "")
		}
	}
	return l, nil
}

func parseID(text string) (uint32, error) {
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("is no number from 0 to 4294967295")
	}
	return uint32(id), nil
}

func parsePort(text string) (int, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("is no number from 1 to 65535")
	}
	return int(port), nil
}

// parseS3 takes the prefix as it stands: S3 keys have no escapes, but ? and # are a slip here.
func parseS3(text, rest string) (Location, error) {
	bucket, prefix, _ := strings.Cut(rest, "/")
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`).MatchString(bucket) {
		return Location{}, badLocation(text, "it names no bucket", "")
	}
	if strings.ContainsAny(prefix, "?#") {
		return Location{}, badLocation("s3://"+bucket+"/…", "an s3:// address takes no ? and no #", "the endpoint is given with --endpoint-url")
	}
	return Location{Scheme: SchemeS3, Bucket: bucket, Prefix: strings.Trim(prefix, "/")}, nil
}

// badLocation is the usage error of --repo. shown is what of the address may be repeated.
func badLocation(shown, why, next string) error {
	what := "--repo"
	if shown != "" {
		what += " " + shown
	}
	if next == "" {
		next = "give " + locationForms
	}
	return &recovery.Problem{What: what, Why: why, Next: next, Err: recovery.ErrUsage}
}

// String gives an address that ParseLocation reads back to the same Location.
func (l Location) String() string {
	switch l.Scheme {
	case SchemeNFS:
		return l.nfsString()
	case SchemeS3:
		return strings.TrimSuffix("s3://"+l.Bucket+"/"+l.Prefix, "/")
	default:
		return l.Path
	}
}

func (l Location) nfsString() string {
	address := url.URL{Scheme: string(SchemeNFS), Host: l.Host, Path: l.Path}
	if strings.Contains(l.Host, ":") {
		address.Host = "[" + l.Host + "]"
	}
	if l.Port != 0 {
		address.Host = net.JoinHostPort(l.Host, strconv.Itoa(l.Port))
	}
	query := url.Values{}
	if l.UID != defaultUID {
		query.Set("uid", strconv.FormatUint(uint64(l.UID), 10))
	}
	if l.GID != defaultGID {
		query.Set("gid", strconv.FormatUint(uint64(l.GID), 10))
	}
	if l.MountPort != 0 {
		query.Set("mountport", strconv.Itoa(l.MountPort))
	}
	address.RawQuery = query.Encode()
	return address.String()
}
