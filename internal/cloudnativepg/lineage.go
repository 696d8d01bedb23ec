package cloudnativepg

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// NextServer is the name of the next server of a lineage: immich-database-v1, -v2, and so on. The
// number is the first above the current one and above every taken one of the same stem, so that it is
// not one whose archive was deleted only in part. A name without a number counts as the first. The
// result is never a taken name.
func NextServer(current string, taken []string) string {
	stem, number := cutVersion(current)
	for _, name := range taken {
		if other, n := cutVersion(name); other == stem {
			number = max(number, n)
		}
	}
	next := fmt.Sprintf("%s-v%d", stem, number+1)
	for slices.Contains(taken, next) || next == current {
		number++
		next = fmt.Sprintf("%s-v%d", stem, number+1)
	}
	return next
}

// cutVersion splits immich-database-v3 into its stem and 3. A name without a number, or with one that
// nobody counts to, is a stem itself, with 1.
func cutVersion(server string) (stem string, number int) {
	at := strings.LastIndex(server, "-v")
	if at <= 0 {
		return server, 1
	}
	digits := server[at+len("-v"):]
	n, err := strconv.Atoi(digits)
	if err != nil || len(digits) > 9 || digits[0] < '0' || digits[0] > '9' {
		return server, 1
	}
	return server[:at], n
}

// DropsTimelines reports whether an operator of this image loses timelines when it recovers: releases
// before 1.28.4, 1.29.0 and 1.29.1. The text says why, or that the version can't be told (then the
// answer is true as well: unknown is never good), and is empty when all is well.
// Source: CNPG#10442, CNPG#10817.
func DropsTimelines(operatorImage string) (bool, string) {
	version, ok := imageVersion(operatorImage)
	if !ok {
		return true, fmt.Sprintf("the operator's version can't be told from its image %q: releases before 1.28.4, 1.29.0 and 1.29.1 drop timelines when they recover", operatorImage)
	}
	fixed := []int{1, 28, 4}
	if version[0] == 1 && version[1] == 29 {
		fixed = []int{1, 29, 2}
	}
	if slices.Compare(version, fixed) >= 0 {
		return false, ""
	}
	return true, fmt.Sprintf("operator %d.%d.%d drops timelines when it recovers (CNPG#10442, #10817): upgrade it to %d.%d.%d or later first",
		version[0], version[1], version[2], fixed[0], fixed[1], fixed[2])
}

// imageVersion reads the release out of an image's tag: ghcr.io/cloudnative-pg/cloudnative-pg:1.30.0,
// with or without a leading v, a suffix or a digest behind it. A preview of a release comes before it,
// and is no release.
func imageVersion(image string) (version []int, ok bool) {
	image, _, _ = strings.Cut(image, "@")
	tag := image[strings.LastIndex(image, "/")+1:]
	_, tag, tagged := strings.Cut(tag, ":")
	parts := regexp.MustCompile(`^v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(-ubi\d*|-debian\d*|-distroless)?$`).FindStringSubmatch(tag)
	if !tagged || parts == nil {
		return nil, false
	}
	for _, part := range parts[1:4] {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, false
		}
		version = append(version, n)
	}
	return version, true
}
