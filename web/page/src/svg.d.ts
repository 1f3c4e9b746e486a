/** The bundler turns an image into the address that it is served at. */
declare module "*.svg" {
  const address: string;
  export default address;
}
