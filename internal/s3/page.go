package s3

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/drctl/drctl/internal/recovery"
)

// parsePage reads a ListBucketResult. It exists because encoding/xml takes 15 ms of CPU for a page of
// 1,000 keys, which is nearly as long as a round trip, and a WAL archive has hundreds of pages. It knows
// what servers send and no more: ok is false for anything unusual (comments, CDATA, unknown entities,
// elements that do not match), and then the SDK's own decoder gets the same bytes.
// Source: Amazon S3 API reference, ListObjectsV2.
func parsePage(body []byte) (page recovery.ObjectPage, ok bool) {
	s := &scanner{rest: body}
	s.skip(`<?xml version="1.0" encoding="UTF-8"?>`)
	if name, opened := s.open(); !opened || name != "ListBucketResult" {
		return page, false
	}
	// No entry is shorter than 200 bytes, and a page has 1,000 at most.
	page.Objects = make([]recovery.Object, 0, min(1000, len(body)/200))
	truncated, token := "", ""
	ok = s.children("ListBucketResult", func(name string) bool {
		switch name {
		case "IsTruncated":
			return s.text(name, &truncated)
		case "NextContinuationToken":
			return s.text(name, &token)
		case "Contents":
			return s.object(&page)
		case "CommonPrefixes":
			var folder string
			read := s.fields(name, map[string]*string{"Prefix": &folder})
			page.Folders = append(page.Folders, folder)
			return read
		}
		return s.ignore(name)
	})
	if truncated == "true" {
		page.NextToken = token
		// Whoever says that more follows must say how to get it.
		ok = ok && token != ""
	}
	return page, ok && len(bytes.TrimSpace(s.rest)) == 0
}

// scanner walks over XML without namespaces, attributes or mixed content.
type scanner struct{ rest []byte }

func (s *scanner) skip(text string) bool {
	s.rest = bytes.TrimLeft(s.rest, " \t\r\n")
	after, found := bytes.CutPrefix(s.rest, []byte(text))
	if found {
		s.rest = after
	}
	return found
}

// open reads an opening tag. The one attribute that it takes is the namespace. <Tag/> comes back as the
// name "Tag/".
func (s *scanner) open() (name string, ok bool) {
	if !s.skip("<") {
		return "", false
	}
	end := bytes.IndexByte(s.rest, '>')
	if end <= 0 {
		return "", false
	}
	tag := s.rest[:end]
	s.rest = s.rest[end+1:]
	bare, attribute, more := bytes.Cut(tag, []byte(" "))
	if more && string(attribute) != `xmlns="http://s3.amazonaws.com/doc/2006-03-01/"` {
		return "", false
	}
	for i, c := range bare {
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (c != '/' || i != len(bare)-1 || i == 0) {
			return "", false
		}
	}
	return string(bare), len(bare) > 0
}

// children calls each for every element up to the closing tag of the parent.
func (s *scanner) children(parent string, each func(name string) bool) bool {
	for !s.skip("</") {
		name, ok := s.open()
		if !ok || (!strings.HasSuffix(name, "/") && !each(name)) {
			return false
		}
	}
	return s.skip(parent + ">")
}

// object reads one Contents element.
func (s *scanner) object(page *recovery.ObjectPage) bool {
	var key, size, modified string
	if !s.children("Contents", func(name string) bool {
		switch name {
		case "Key":
			return s.text(name, &key)
		case "Size":
			return s.text(name, &size)
		case "LastModified":
			return s.text(name, &modified)
		}
		return s.ignore(name)
	}) {
		return false
	}
	bytes, err := strconv.ParseInt(size, 10, 64)
	at, timeErr := time.Parse(time.RFC3339Nano, modified)
	if err != nil || timeErr != nil || key == "" {
		return false
	}
	page.Objects = append(page.Objects, recovery.Object{Key: key, SizeBytes: bytes, ModifiedAt: at.UTC()})
	return true
}

// fields reads the texts of an element's children; others are left out.
func (s *scanner) fields(parent string, into map[string]*string) bool {
	return s.children(parent, func(name string) bool {
		if target := into[name]; target != nil {
			return s.text(name, target)
		}
		return s.ignore(name)
	})
}

// text reads the content of an element that holds text only, and its closing tag.
func (s *scanner) text(name string, into *string) bool {
	end := bytes.IndexByte(s.rest, '<')
	if end < 0 {
		return false
	}
	raw := string(s.rest[:end])
	s.rest = s.rest[end:]
	text, ok := unescape(raw)
	*into = text
	closing := "</" + name + ">"
	if !ok || !bytes.HasPrefix(s.rest, []byte(closing)) {
		return false
	}
	s.rest = s.rest[len(closing):]
	return true
}

// ignore passes over an element that is of no interest, with what is in it (Owner has children).
func (s *scanner) ignore(name string) bool {
	if end := bytes.IndexByte(s.rest, '<'); end >= 0 && bytes.HasPrefix(s.rest[end:], []byte("</")) {
		var text string
		return s.text(name, &text)
	}
	return s.children(name, s.ignore)
}

// unescape undoes XML's own entities and numbered characters. A carriage return is XML's to rewrite.
func unescape(raw string) (string, bool) {
	if strings.IndexByte(raw, '\r') >= 0 || strings.Contains(raw, "]]>") {
		return "", false
	}
	if strings.IndexByte(raw, '&') < 0 {
		return raw, validText(raw)
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(raw, "&")
		b.WriteString(before)
		if !found {
			text := b.String()
			return text, validText(text)
		}
		entity, rest, ended := strings.Cut(after, ";")
		if !ended {
			return "", false
		}
		switch entity {
		case "amp":
			b.WriteByte('&')
		case "lt":
			b.WriteByte('<')
		case "gt":
			b.WriteByte('>')
		case "quot", "#34":
			b.WriteByte('"')
		case "apos", "#39":
			b.WriteByte('\'')
		default:
			return "", false
		}
		raw = rest
	}
}

// validText refuses what XML forbids and what only a full decoder knows how to treat: control
// characters, and bytes that are not ASCII, which a key of Barman never has.
func validText(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < ' ' && c != '\t' && c != '\n') || c >= 0x7F {
			return false
		}
	}
	return true
}
