// An application for Node.js.
const http = require("http");

http.createServer((request, response) => {
  request.resume().on("end", () => {
    setTimeout(() => response.end(process.env.APP_NAME), request.url === "/slow" ? 100 : 0);
  });
}).listen(Number(process.env.PORT), "127.0.0.1");
