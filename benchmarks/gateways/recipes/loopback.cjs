// Let a server of Node's listen on the loopback interface, which Portkey has no option for.
const { Server } = require("node:net");

const { listen } = Server.prototype;
Server.prototype.listen = function (port, ...rest) {
  return listen.call(this, { port, host: "127.0.0.1" }, rest.at(-1));
};
