// Package helm installs, upgrades, repairs and takes back releases of Helm charts, by Helm's own library: no helm
// program is needed. It is the one place that knows charts, chart repositories and Helm's record of a release.
//
// It must not import other packages of drctl than recovery.
package helm
