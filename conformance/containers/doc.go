// Package containers brings docker-compose.yml up as it is, and lets a real Linux client go on while its containers come and go.
//
// The engine runs on a host of a lab, so that its networks reach no other. Nothing is pulled: the images that the compose file and the
// Dockerfile name are made from programs that this machine has, and the image of the gateway is built by the Dockerfile from them.
// For that the test needs Docker with compose besides what kernel clients need: `make containers`.
package containers
