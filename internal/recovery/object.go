package recovery

import "time"

// Object is one entry of an object store's listing.
type Object struct {
	Key       string
	SizeBytes int64
	// ModifiedAt is when the store received the object (LastModified).
	ModifiedAt time.Time
}

// ObjectQuery asks for one page of a listing; a page is one request.
type ObjectQuery struct {
	Bucket string
	Prefix string
	// StartAfter leaves out every key up to and including it. It is for the first page only.
	StartAfter string
	// Delimiter, usually "/", folds keys that share a folder into ObjectPage.Folders.
	Delimiter string
	// MaxKeys bounds the page; zero means the store's own limit (1,000 on S3).
	MaxKeys int
	// Token continues after an earlier page: its NextToken.
	Token string
}

// ObjectPage is one page of a listing, sorted by key.
type ObjectPage struct {
	Objects []Object
	// Folders are the common prefixes, each with its trailing delimiter.
	Folders []string
	// NextToken is empty on the last page.
	NextToken string
}
