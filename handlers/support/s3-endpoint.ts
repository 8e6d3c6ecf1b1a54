/** Whether S3 is another server than Amazon's: it has no DNS name for each bucket, so that buckets stand in the path. */
export const isOwnS3 = (): boolean => (process.env.AWS_ENDPOINT_URL_S3 ?? process.env.AWS_ENDPOINT_URL) !== undefined;
